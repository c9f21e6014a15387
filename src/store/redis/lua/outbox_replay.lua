-- KEYS: letters
-- ARGV: outbox prefix, now, which (id, call, since), value, limit
-- Returns: how many were looked at, how many of them were replayed
local prefix, now, which, value, limit = unpack(ARGV)
local box, dead, of_call = outbox(prefix), prefix .. 'dead', prefix .. 'dead_of:' .. value
local ids = {value}
if which == 'call' then
  ids = redis.call('ZRANGE', of_call, 0, limit - 1)
elseif which == 'since' then
  ids = redis.call('ZRANGEBYSCORE', dead, value, '+inf', 'LIMIT', 0, limit)
end
local replayed = 0
for _, id in ipairs(ids) do
  local queue, _, _, json = box.read(id)
  -- A node of an older version may have removed it since it was listed.
  if redis.call('ZREM', dead, id) == 1 and json then
    local call, at = box.about(json)
    box.unindex(id, call)
    redis.call('HDEL', prefix .. 'errors', id)
    redis.call('ZADD', prefix .. 'order', at or now, id)
    box.write(id, queue, '', 0, json)
    box.wait(queue, 'r:' .. id, now)
    replayed = replayed + 1
  elseif which == 'call' then
    redis.call('ZREM', of_call, id)
  end
end
return {#ids, replayed}
