-- KEYS: letters
-- ARGV: outbox prefix, queue, now, limit
-- Returns: how many were made due
local due = ARGV[1] .. 'due:' .. ARGV[2]
local later = redis.call('ZRANGEBYSCORE', due, '(' .. ARGV[3], '+inf', 'LIMIT', 0, ARGV[4])
for _, member in ipairs(later) do redis.call('ZADD', due, ARGV[3], member) end
return #later
