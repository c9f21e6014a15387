-- KEYS: call, deadlines, timeline, generation, if it is over: caller's line, callee's line, ring time owed by this caller
--       at this callee, by this caller at all, caller's outcomes, callee's outcomes, order; then what tell takes
-- ARGV: id, version seen, version, live (1|0), record, ttl ms or '' to leave it, deadline, 'same' or '', ttl ms of the
--       timeline, name of the generation that was judged or '', what tell takes (5), if it is over: outcome, outcome ttl
--       ms, outcome cap, when it ended, how many ms more are owed at this callee and at all if it was live, 1 if it ends
--       answered, what count takes; then what timeline takes, outbox prefix and what outbox.append takes, if there are
--       outbox messages
-- Returns: 'another', 'gone', or 'stale' and what is stored, or 'done', the order of the end, '0' where nothing ended,
--          and what tell adds
local id, is_over = ARGV[1], ARGV[4] == '0'
local version, was_live, kept, of = unpack(redis.call('HMGET', KEYS[1], 'v', 'live', 'kept', 'of'))
-- Decided on what this store has lost, or on what another node has put back before all have. Hardly ever is it looked up.
if ARGV[9] ~= '' and of ~= ARGV[9] and redis.call('GET', KEYS[4]) ~= ARGV[9] then return {'another'} end
if not version then return {'gone'} end
if version ~= ARGV[2] then return {'stale', redis.call('HGET', KEYS[1], 'd')} end

local ends = was_live == '1' and is_over
local over, record = '0', ARGV[5]
if ends then
  over = later_order(KEYS[11], redis.call('TIME'))
  record = with_end(record, over)
end
redis.call('HSET', KEYS[1], 'v', ARGV[3], 'live', ARGV[4], 'd', record)
if ARGV[6] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[6]) end
local messages = timeline(KEYS[3], ARGV[8], is_over, is_over and 23 or 15)
if ARGV[messages] then outbox(ARGV[messages]).append(messages + 1) end
if ARGV[7] == '' then
  redis.call('ZREM', KEYS[2], id)
elseif ARGV[7] ~= 'same' then
  redis.call('ZADD', KEYS[2], ARGV[7], id)
end
if ends then
  local found, gone = redis.call('MGET', KEYS[5], KEYS[6], KEYS[7], KEYS[8]), {}
  for place = 1, 2 do
    if found[place] == id then gone[#gone + 1] = KEYS[place + 4] end
  end
  if found[3] and ARGV[21] == '1' then gone[#gone + 1] = KEYS[7] end
  if #gone > 0 then redis.call('DEL', unpack(gone)) end
  for place = 9, 10 do list(KEYS[place], ARGV[15], ARGV[17], ARGV[16]) end
  -- What is owed is kept as the time at which all of it is paid back.
  for place = 3, 4 do
    local more, at = tonumber(ARGV[place + 16]), tonumber(ARGV[18])
    if more > 0 then
      local forgiven = place == 3 and ARGV[21] == '1'
      local paid = math.max(not forgiven and tonumber(found[place] or 0) or 0, at) + more
      redis.call('SET', KEYS[place + 4], string.format('%.0f', paid), 'PX', string.format('%.0f', paid - at))
    end
  end
  count(ARGV[22])
  -- What the parties said is gone with the call; its key comes last.
  if kept then redis.call('DEL', string.match(kept, '^%S+ %S+ %S+ (.*)$')) end
end
return tell({'done', over}, record, is_over and 12 or 5, 10)
