-- KEYS: users of a node and epoch in this shard, those of them that somebody sweeps, users online in this shard
-- ARGV: field prefix of this node and epoch, sessions key prefix, then the users that were dealt with
for place = 3, #ARGV do
  local user, left = ARGV[place], 0
  for _, field in ipairs(redis.call('HKEYS', ARGV[2] .. user)) do
    if string.sub(field, 1, #ARGV[1]) == ARGV[1] then
      redis.call('HDEL', ARGV[2] .. user, field)
    else
      left = left + 1
    end
  end
  if left == 0 then redis.call('SREM', KEYS[3], user) end
  redis.call('SREM', KEYS[1], user)
  redis.call('ZREM', KEYS[2], user)
end
return #ARGV - 2
