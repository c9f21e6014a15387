-- KEYS: who has put back what in this life of the store, when the first of them decided again, when the first of them said
--       that what is not there does not exist
-- ARGV: node or '' who only looks, what (nothing|told|all|decides), ttl ms of the first key, of the others, 1 if it waits for
--       nobody any more
-- Returns: how many ms ago the first decided again or '', the same of the third key, node and what it has put back, for each
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[1] ~= '' then
  local said = redis.call('HGET', KEYS[1], ARGV[1])
  if ARGV[2] == 'decides' or said ~= 'all' and said ~= 'decides' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  if ARGV[2] == 'decides' then redis.call('SET', KEYS[2], string.format('%.0f', now), 'PX', ARGV[4], 'NX') end
  if ARGV[5] == '1' then redis.call('SET', KEYS[3], string.format('%.0f', now), 'PX', ARGV[4], 'NX') end
end
local reply = redis.call('HGETALL', KEYS[1])
for place = 3, 2, -1 do
  local since = tonumber(redis.call('GET', KEYS[place]) or '')
  table.insert(reply, 1, since and string.format('%.0f', math.max(0, now - since)) or '')
end
return reply
