-- KEYS: letters
-- ARGV: outbox prefix, now, which (id, call, since), value, limit
-- Returns: how many were replayed
local prefix, now, which, value, limit = unpack(ARGV)
local box, replayed = outbox(prefix), 0
local from = which == 'since' and value or '-inf'
for _, id in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'dead', from, '+inf')) do
  local queue, _, _, json = box.read(id)
  local meant = which == 'since' or (which == 'id' and id == value)
  if which == 'call' and json then meant = cjson.decode(json).call == value end
  if meant and json then
    redis.call('ZREM', prefix .. 'dead', id)
    redis.call('HDEL', prefix .. 'errors', id)
    redis.call('ZADD', prefix .. 'order', cjson.decode(json).at, id)
    box.write(id, queue, '', 0, json)
    box.wait(queue, 'r:' .. id, now)
    replayed = replayed + 1
    if replayed >= tonumber(limit) then break end
  end
end
return replayed
