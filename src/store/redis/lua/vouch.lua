-- KEYS: calls vouched for in this generation, when it was lost
-- ARGV: ttl ms of each, now, calls
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[2], 'NX')
if #ARGV == 3 then return 0 end
local added = redis.call('SADD', KEYS[1], unpack(ARGV, 4))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return added
