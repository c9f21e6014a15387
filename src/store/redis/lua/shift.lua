-- KEYS: clock
-- ARGV: shift that was read, shift
-- Returns: 1 if nobody else had changed it
if tonumber(redis.call('HGET', KEYS[1], 'shift') or 0) ~= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'shift', ARGV[2])
redis.call('HDEL', KEYS[1], 'slewed')
return 1
