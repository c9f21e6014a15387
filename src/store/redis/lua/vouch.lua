-- KEYS: calls vouched for in this generation, when it was lost
-- ARGV: ttl ms of each, calls
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[2], string.format('%.0f', now), 'PX', ARGV[2], 'NX')
if #ARGV == 2 then return 0 end
local added = redis.call('SADD', KEYS[1], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return added
