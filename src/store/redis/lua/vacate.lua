-- KEYS: call, timeline
-- ARGV: version seen
-- Returns: 1 if the call was over and still at that version, and is gone
local stored = redis.call('HMGET', KEYS[1], 'v', 'live')
if stored[1] ~= ARGV[1] or stored[2] ~= '0' then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
return 1
