-- KEYS: call, caller's line, callee's line, deadlines, caller's outcomes, callee's outcomes, timeline, order,
--       ring time owed by this caller at this callee, by this caller at all, then what tell takes
-- ARGV: id, version seen, version, live (1|0), record, ttl ms or '' to leave it, deadline, 'same' or '', outcome or '',
--       outcome ttl ms and outcome cap (each '' if it is live), when it ended, how many ms more are owed at this callee
--       and at all if it was live, 1 if it ends answered, ttl ms of the timeline, what count takes, what tell takes (5),
--       what timeline takes,
--       outbox prefix and what outbox.append takes, if there are letters
-- Returns: 'gone', or 'stale' and what is stored, or 'done', the order of the end, '0' where nothing ended, and what
--          tell adds
local id = ARGV[1]
local version, was_live = unpack(redis.call('HMGET', KEYS[1], 'v', 'live'))
if not version then return {'gone'} end
if version ~= ARGV[2] then return {'stale', redis.call('HGET', KEYS[1], 'd')} end

local ends = was_live == '1' and ARGV[4] == '0'
local over, record = '0', ARGV[5]
if ends then
  over = later_order(KEYS[8], redis.call('TIME'))
  record = with_end(record, over)
end
redis.call('HSET', KEYS[1], 'v', ARGV[3], 'live', ARGV[4], 'd', record)
if ARGV[6] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[6]) end
local letters = timeline(KEYS[7], ARGV[15], ARGV[4] == '0', 22)
if ARGV[letters] then outbox(ARGV[letters]).append(letters + 1) end
if ARGV[7] == '' then
  redis.call('ZREM', KEYS[4], id)
elseif ARGV[7] ~= 'same' then
  redis.call('ZADD', KEYS[4], ARGV[7], id)
end
if ends then
  local lines, own = redis.call('MGET', KEYS[2], KEYS[3]), {}
  for place = 1, 2 do
    if lines[place] == id then own[#own + 1] = KEYS[place + 1] end
  end
  if ARGV[14] == '1' then own[#own + 1] = KEYS[9] end
  if #own > 0 then redis.call('DEL', unpack(own)) end
  for place = 5, 6 do list(KEYS[place], ARGV[8], ARGV[10], ARGV[9]) end
  -- What is owed is kept as the time at which all of it is paid back.
  for place = 9, 10 do
    local more, at = tonumber(ARGV[place + 3]), tonumber(ARGV[11])
    if more > 0 then
      local paid = math.max(tonumber(redis.call('GET', KEYS[place]) or 0), at) + more
      redis.call('SET', KEYS[place], string.format('%.0f', paid), 'PX', string.format('%.0f', paid - at))
    end
  end
  count(ARGV[16])
end
return tell({'done', over}, record, 11, 17)
