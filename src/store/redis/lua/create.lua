-- KEYS: call, caller's line, callee's line, deadlines, caller's early commands, callee's early commands, rings of this caller at
--       this callee or, if it is over, caller's outcomes, timeline, order, ring time owed by this caller at this callee,
--       by this caller at all, by this callee at this caller, generation, then what tell takes
-- ARGV: id, version, live (1|0), record, ttl ms, deadline or '', now, early command retention ms, signature of the early commands
--       seen, call key prefix, name of the generation that was judged or '', this server's time when it was sent or '',
--       in how many ms nobody waits for it any more, then
--       if it is live: rings a minute (0: any number), how many ms ahead this caller may owe ring time at this callee,
--       and at all (each '' for any), 1 if it is answered from the start, what tell takes (5),
--       else: outcome, outcome ttl ms, outcome cap, what count takes;
--       what timeline takes, outbox prefix and what outbox.append takes, if there are outbox messages
-- Returns: what there is in its way, with a line also what would be in it next, or 'created', its order, how many lines
--          of calls that are gone were freed, this server's time, what tell adds
local function append(from)
  local messages = timeline(KEYS[8], ARGV[5], false, from)
  if ARGV[messages] then outbox(ARGV[messages]).append(messages + 1) end
end

-- Whoever dialled was told that it failed, and has gone on: a call that begins now would ring in nobody's name.
local time = redis.call('TIME')
local own = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[12] ~= '' and own - tonumber(ARGV[12]) > tonumber(ARGV[13]) then return {'late', string.format('%.0f', own)} end

local id, live, now, retention = ARGV[1], ARGV[3], tonumber(ARGV[7]), tonumber(ARGV[8])
local generation, newest, on_caller, on_callee, owed_callee, owed_caller, owes_back, rings = unpack(redis.call(
  'MGET', KEYS[13], KEYS[9], KEYS[2], KEYS[3], KEYS[10], KEYS[11], KEYS[12], KEYS[7]))
-- The connection was made again while the command waited for it: nobody has put back yet what this store has lost.
if ARGV[11] ~= '' and generation ~= ARGV[11] then return {'another'} end

-- Hardly ever is any of these there.
local known = redis.call('EXISTS', KEYS[1], KEYS[5], KEYS[6]) > 0
local stored = known and redis.call('HGET', KEYS[1], 'd')
if stored then return {'exists', stored} end

local kept, signature = {'verdicts'}, {}
for place = 5, known and 6 or 0 do
  local values = redis.call('HMGET', KEYS[place], id, id .. '|t')
  for side = 1, 2 do
    local at = string.match(values[side] or '', '^(%d+)|')
    if at and tonumber(at) + retention > now then
      kept[#kept + 1] = values[side]
      signature[#signature + 1] = at
    end
  end
end
if table.concat(signature, ',') ~= ARGV[9] then return kept end

if live == '0' then
  local order = next_order(KEYS[9], newest, time)
  redis.call(
    'HSET', KEYS[1], 'v', ARGV[2], 'live', live, 'd', with_end(with_order(ARGV[4], order), order), 'of', ARGV[11])
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  list(KEYS[7], ARGV[14], ARGV[16], ARGV[15])
  append(18)
  count(ARGV[17])
  return {'created', order, '0', string.format('%.0f', own)}
end

local stuck = 0
local function of_line(other)
  if not other then return '' end
  local record = redis.call('HMGET', ARGV[10] .. other, 'live', 'd')
  if record[1] == '1' then return record[2] end
  stuck = stuck + 1
  return ''
end
local caller, callee = of_line(on_caller), of_line(on_callee)

-- Why it may not ring, if it may not: for how many ms, and by which bound.
local limit = tonumber(ARGV[14])
local function limited()
  for place, owed in ipairs({owed_callee or '0', owed_caller or '0'}) do
    local patience = ARGV[14 + place]
    local wait = patience ~= '' and tonumber(owed) - now - patience or 0
    if wait > 0 then return string.format('%.0f', wait), place == 1 and 'callee' or 'caller' end
  end
  if limit > 0 and tonumber(rings or 0) >= limit then return tostring(redis.call('PTTL', KEYS[7])), 'minute' end
end
local wait, bound = limited()

if caller ~= '' or callee ~= '' then
  -- Changes nothing, and fails where Redis is out of memory: no line is freed for a call that can't be written then.
  redis.call('SETRANGE', KEYS[9], 0, '')
  return {'busy', caller, callee, wait, bound}
end
if wait then return {'limited', wait, bound} end
if limit > 0 and rings then
  redis.call('INCR', KEYS[7])
elseif limit > 0 then
  redis.call('SET', KEYS[7], '1', 'PX', '60000')
end

local order = next_order(KEYS[9], newest, time)
local record = with_order(ARGV[4], order)
redis.call('HSET', KEYS[1], 'v', ARGV[2], 'live', live, 'd', record, 'of', ARGV[11])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
if owes_back then redis.call('DEL', KEYS[12]) end
if owed_callee and ARGV[17] == '1' then redis.call('DEL', KEYS[10]) end
redis.call('SET', KEYS[2], id, 'PX', ARGV[5])
redis.call('SET', KEYS[3], id, 'PX', ARGV[5])
if ARGV[6] ~= '' then redis.call('ZADD', KEYS[4], ARGV[6], id) end
append(23)
return tell({'created', order, tostring(stuck), string.format('%.0f', own)}, record, 14, 18)
