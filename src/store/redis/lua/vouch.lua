-- KEYS: calls vouched for in this generation, when it was lost
-- ARGV: ttl ms of each, calls
-- Returns: how many ms ago it was lost
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[2], string.format('%.0f', now), 'PX', ARGV[2], 'NX')
if #ARGV > 2 then
  redis.call('SADD', KEYS[1], unpack(ARGV, 3))
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return math.max(0, now - (tonumber(redis.call('GET', KEYS[2])) or now))
