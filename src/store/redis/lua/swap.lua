-- KEYS: call, caller's line, callee's line, deadlines, caller's outcomes, callee's outcomes, timeline, order,
--       ring time owed by this caller at this callee, by this caller at all
-- ARGV: id, version seen, version, live (1|0), record, ttl ms, deadline or '', outcome or '', outcome ttl ms, outcome cap,
--       when it ended, how many ms more are owed at this callee and at all if it was live, 1 if it is answered,
--       what timeline takes, outbox prefix and what outbox.append takes, if there are letters
-- Returns: 'gone', or 'stale' and what is stored, or 'done' and the order of the end, '0' where nothing ended
local id = ARGV[1]
local stored = redis.call('HMGET', KEYS[1], 'v', 'live', 'd')
if not stored[1] then return {'gone'} end
if stored[1] ~= ARGV[2] then return {'stale', stored[3]} end

local ends = stored[2] == '1' and ARGV[4] == '0'
local over = ends and next_order(KEYS[8]) or '0'
redis.call('HSET', KEYS[1], 'v', ARGV[3], 'live', ARGV[4], 'd', ends and with_end(ARGV[5], over) or ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
local letters = timeline(KEYS[7], ARGV[6], ARGV[4] == '0', 15)
if ARGV[letters] then outbox(ARGV[letters]).append(letters + 1) end
if ARGV[7] ~= '' then redis.call('ZADD', KEYS[4], ARGV[7], id) else redis.call('ZREM', KEYS[4], id) end
if ends then
  for place = 2, 3 do
    if redis.call('GET', KEYS[place]) == id then redis.call('DEL', KEYS[place]) end
  end
  for place = 5, 6 do
    redis.call('LPUSH', KEYS[place], ARGV[8])
    redis.call('LTRIM', KEYS[place], 0, ARGV[10] - 1)
    redis.call('PEXPIRE', KEYS[place], ARGV[9])
  end
end
-- What is owed is kept as the time at which all of it is paid back.
for place = 9, 10 do
  local more, at = tonumber(ARGV[place + 3]), tonumber(ARGV[11])
  if ends and more > 0 then
    local paid = math.max(tonumber(redis.call('GET', KEYS[place]) or 0), at) + more
    redis.call('SET', KEYS[place], string.format('%.0f', paid), 'PX', string.format('%.0f', paid - at))
  end
end
if ARGV[14] == '1' then redis.call('DEL', KEYS[9]) end
return {'done', over}
