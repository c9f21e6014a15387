-- KEYS: users of a node and epoch in this shard, those of them that somebody sweeps, by the end of that claim
-- ARGV: field prefix of this node and epoch, sessions key prefix, limit, now, end of the claim, ttl ms,
--       sessions after which no further user is claimed
-- Returns: how many users are claimed by anybody, then the sessions of those claimed by this
local users = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[4], 'LIMIT', 0, ARGV[3])
if #users < tonumber(ARGV[3]) then
  for _, user in ipairs(redis.call('SRANDMEMBER', KEYS[1], ARGV[3] - #users)) do
    users[#users + 1] = user
  end
end
local claimed = {}
for _, user in ipairs(users) do
  if #claimed >= tonumber(ARGV[7]) then break end
  redis.call('SREM', KEYS[1], user)
  local all, found = redis.call('HGETALL', ARGV[2] .. user), false
  for place = 1, #all, 2 do
    if string.sub(all[place], 1, #ARGV[1]) == ARGV[1] then
      claimed[#claimed + 1] = all[place + 1]
      found = true
    end
  end
  if found then redis.call('ZADD', KEYS[2], ARGV[5], user) else redis.call('ZREM', KEYS[2], user) end
end
if #claimed > 0 then redis.call('PEXPIRE', KEYS[2], ARGV[6]) end
return {tostring(redis.call('ZCARD', KEYS[2])), unpack(claimed)}
