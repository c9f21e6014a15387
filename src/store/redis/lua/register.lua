-- KEYS: sessions of the user, users online in this shard, users of this node and epoch in this shard,
--       nodes that watch the user
-- ARGV: field (node|epoch|session), record, user, ttl ms, most sessions of a user
-- Returns: 1 if there was room and it was written, sessions of the user, nodes
local most = tonumber(ARGV[5])
local room = redis.call('HLEN', KEYS[1]) < most or redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1
if room then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  redis.call('SADD', KEYS[2], ARGV[3])
  redis.call('SADD', KEYS[3], ARGV[3])
  redis.call('PEXPIRE', KEYS[3], ARGV[4])
end
local sessions = redis.call('HVALS', KEYS[1])
-- A node of an older version writes any number.
for place = #sessions, most + 1, -1 do sessions[place] = nil end
return {room and 1 or 0, sessions, redis.call('SMEMBERS', KEYS[4])}
