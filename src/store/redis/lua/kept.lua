-- KEYS: call, its kept messages
-- ARGV: most messages kept
-- Returns: orders of the last kept message of caller and callee, as the call has them, or '' where none is or the call is
--          not live; and the messages
local stored = redis.call('HMGET', KEYS[1], 'live', 'kept')
if stored[1] ~= '1' or not stored[2] then return {''} end
return {stored[2], unpack(redis.call('LRANGE', KEYS[2], 0, ARGV[1] - 1))}
