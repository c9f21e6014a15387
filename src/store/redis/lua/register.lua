-- KEYS: sessions of the user, users online in this shard, users of this node and epoch in this shard,
--       nodes that subscribed to the user
-- ARGV: field (node|epoch|session), record, user, ttl ms, most sessions of a user
-- Returns: 1 if there was room and it was written, sessions of the user, nodes
local most = tonumber(ARGV[5])
local added = redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) == 1
local sessions = redis.call('HVALS', KEYS[1])
local room = not added or #sessions <= most
if room then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  redis.call('SADD', KEYS[2], ARGV[3])
  redis.call('SADD', KEYS[3], ARGV[3])
  redis.call('PEXPIRE', KEYS[3], ARGV[4])
else
  redis.call('HDEL', KEYS[1], ARGV[1])
  sessions = redis.call('HVALS', KEYS[1])
end
-- A node of an older version writes any number.
for place = #sessions, most + 1, -1 do sessions[place] = nil end
return {room and 1 or 0, sessions, redis.call('SMEMBERS', KEYS[4])}
