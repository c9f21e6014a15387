-- Lists dead letters under their calls, from where it was left on: a node of an older version does not.
-- KEYS: letters
-- ARGV: outbox prefix, died until (no more of an older version will), limit, where to go on (time, message) or ''
-- Returns: how many were looked at, and where to go on; with no place to go on from, it ends at `died until`, and the
--          next begins there
local prefix, settled, limit, time, last = unpack(ARGV)
local box, dead, ours = outbox(prefix), prefix .. 'dead', time == ''
if ours then
  time, last = string.match(redis.call('HGET', prefix .. 'stats', 'indexed') or '', '^(.-)|(.*)$')
end
local from = 0
if time then
  local rank = redis.call('ZSCORE', dead, last) == time and redis.call('ZRANK', dead, last)
  from = rank and rank + 1 or redis.call('ZCOUNT', dead, '-inf', '(' .. time)
end
local found, count = redis.call('ZRANGE', dead, from, from + limit - 1, 'WITHSCORES'), 0
for place = 1, #found, 2 do
  local id, died = found[place], found[place + 1]
  if ours and tonumber(died) > tonumber(settled) then break end
  local _, _, _, json = box.read(id)
  if json then box.index(id, (box.about(json)), died) end
  time, last, count = died, id, count + 1
end
if ours and count > 0 then redis.call('HSET', prefix .. 'stats', 'indexed', time .. '|' .. last) end
return {tostring(count), time or '', last or ''}
