-- KEYS: letters
-- ARGV: outbox prefix, queue, now, limit
-- Returns: how many were made due
local due = ARGV[1] .. 'due:' .. ARGV[2]
local later = redis.call('ZRANGEBYSCORE', due, '(' .. ARGV[3], '+inf', 'LIMIT', 0, ARGV[4])
local at = {}
for _, member in ipairs(later) do
  at[#at + 1] = ARGV[3]
  at[#at + 1] = member
end
if #at > 0 then redis.call('ZADD', due, unpack(at)) end
return #later
