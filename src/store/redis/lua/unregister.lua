-- KEYS: sessions of the user, users online in this shard, users of this node and epoch in this shard,
--       nodes that subscribed to the user
-- ARGV: field (node|epoch|session), field prefix of this node and epoch, user
redis.call('HDEL', KEYS[1], ARGV[1])
local left, left_here = 0, false
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  left = left + 1
  left_here = left_here or string.sub(field, 1, #ARGV[2]) == ARGV[2]
end
if not left_here then redis.call('SREM', KEYS[3], ARGV[3]) end
if left == 0 then redis.call('SREM', KEYS[2], ARGV[3]) end
return (left == 0 and redis.call('EXISTS', KEYS[4]) == 1) and 1 or 0
