-- KEYS: letters
-- ARGV: outbox prefix, died before, limit, most messages, most bytes
-- Returns: how many dead ones were forgotten for their age, how many letters were dropped beyond the bounds
local prefix, before, limit, most, most_bytes = unpack(ARGV)
local box = outbox(prefix)
local old = redis.call('ZRANGEBYSCORE', prefix .. 'dead', '-inf', '(' .. before, 'LIMIT', 0, limit)
box.forget_dead(old)
return {#old, box.trim(tonumber(most), tonumber(most_bytes), limit - #old)}
