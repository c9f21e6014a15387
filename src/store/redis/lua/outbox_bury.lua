-- KEYS: letters
-- ARGV: outbox prefix, died before, limit
-- Returns: how many were forgotten
local old = redis.call('ZRANGEBYSCORE', ARGV[1] .. 'dead', '-inf', '(' .. ARGV[2], 'LIMIT', 0, ARGV[3])
local box = outbox(ARGV[1])
for _, id in ipairs(old) do box.forget(id) end
return #old
