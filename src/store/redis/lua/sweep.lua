-- KEYS: users of a node and epoch in this shard, users online in this shard
-- ARGV: field prefix of this node and epoch, sessions key prefix, limit
local swept = {}
for _, user in ipairs(redis.call('SPOP', KEYS[1], ARGV[3])) do
  local key = ARGV[2] .. user
  local all = redis.call('HGETALL', key)
  local left = #all / 2
  for place = 1, #all, 2 do
    if string.sub(all[place], 1, #ARGV[1]) == ARGV[1] then
      redis.call('HDEL', key, all[place])
      left = left - 1
      swept[#swept + 1] = all[place + 1]
    end
  end
  if left == 0 then redis.call('SREM', KEYS[2], user) end
end
return swept
