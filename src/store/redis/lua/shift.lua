-- KEYS: clock
-- ARGV: shift that was read, shift, how often it was shifted before
-- Returns: 1 if nobody else had changed it
local kept = redis.call('HMGET', KEYS[1], 'shift', 'shifts')
if tonumber(kept[1] or 0) ~= tonumber(ARGV[1]) then return 0 end
local shifts = math.max(tonumber(kept[2] or 0), tonumber(ARGV[3])) + 1
redis.call('HSET', KEYS[1], 'shift', ARGV[2], 'shifts', string.format('%.0f', shifts))
redis.call('HDEL', KEYS[1], 'slewed')
return 1
