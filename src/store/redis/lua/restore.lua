-- KEYS: call, caller's line, callee's line, deadlines, caller's outcomes, callee's outcomes, order, generation
-- ARGV: id, version, its counter, live (1|0), record, ttl ms, deadline or '', outcome or '', outcome ttl ms, outcome cap,
--       call key prefix, newest order in the record, name of the generation that was asked for last or '', outbox prefix and
--       what outbox.append takes, if there are outbox messages
-- Returns: 1 where it was written, 0 where the store knew it; 2 more where another live call has a line of it: then it is
--          offered to whoever claims deadlines; 4 where this is another store
if ARGV[13] ~= '' and redis.call('GET', KEYS[8]) ~= ARGV[13] then return 4 end
local id = ARGV[1]
if tonumber(ARGV[12]) > newest_order(KEYS[7]) then set_order(KEYS[7], tonumber(ARGV[12])) end
local stored = redis.call('HMGET', KEYS[1], 'v', 'live')
-- A call that is over stays so: what ended it may have been said while the store had nothing of the call.
local known = stored[1]
  and (stored[2] == '0' and ARGV[4] == '1' or tonumber(string.match(stored[1], '^%d+')) >= tonumber(ARGV[3]))
if not known then
  redis.call('HSET', KEYS[1], 'v', ARGV[2], 'live', ARGV[4], 'd', ARGV[5], 'of', ARGV[13])
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  if ARGV[7] ~= '' then redis.call('ZADD', KEYS[4], ARGV[7], id) else redis.call('ZREM', KEYS[4], id) end
end
local live = ARGV[4] == '1' and (not known or stored[2] == '1')
local without = 0
for place = 2, 3 do
  local other = redis.call('GET', KEYS[place])
  if live and other and other ~= id and redis.call('HGET', ARGV[11] .. other, 'live') == '1' then
    without = 2
  elseif live then
    redis.call('SET', KEYS[place], id, 'PX', ARGV[6])
  elseif not known and other == id then
    redis.call('DEL', KEYS[place])
  end
end
if without > 0 then
  redis.call('ZADD', KEYS[4], 0, id)
elseif live and known and stored[1] == ARGV[2] and ARGV[7] ~= '' then
  redis.call('ZADD', KEYS[4], ARGV[7], id)
end
if known then return without end
if ARGV[8] ~= '' then
  for place = 5, 6 do
    -- Newer calls may have ended since: newest first all the same.
    local function ended_at(outcome)
      -- One that another version wrote in another form comes last.
      local readable, read = pcall(cjson.decode, outcome)
      return readable and type(read) == 'table' and tonumber(read.ended_at) or 0
    end
    local ended = {{ended_at(ARGV[8]), ARGV[8]}}
    for _, outcome in ipairs(redis.call('LRANGE', KEYS[place], 0, -1)) do
      if outcome ~= ARGV[8] then ended[#ended + 1] = {ended_at(outcome), outcome} end
    end
    table.sort(ended, function(one, other) return one[1] > other[1] end)
    redis.call('DEL', KEYS[place])
    for rank = 1, math.min(#ended, tonumber(ARGV[10])) do redis.call('RPUSH', KEYS[place], ended[rank][2]) end
    redis.call('PEXPIRE', KEYS[place], ARGV[9])
  end
end
if ARGV[14] then outbox(ARGV[14]).append(15) end
return 1 + without
