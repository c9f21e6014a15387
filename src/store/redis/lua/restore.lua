-- KEYS: call, caller's line, callee's line, deadlines, caller's outcomes, callee's outcomes
-- ARGV: id, version, its counter, live (1|0), record, ttl ms, deadline or '', outcome or '', outcome ttl ms, outcome cap,
--       call key prefix, outbox prefix and what outbox.append takes, if there are letters
-- Returns: {'known'} where the store knew it; else 'back' and, for each line that two live calls claim, its place among
--          the keys and the record of the older call, which is over: '' where that is this one
local id = ARGV[1]
local stored = redis.call('HGET', KEYS[1], 'v')
if stored and tonumber(string.match(stored, '^%d+')) >= tonumber(ARGV[3]) then return {'known'} end

redis.call('HSET', KEYS[1], 'v', ARGV[2], 'live', ARGV[4], 'd', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
if ARGV[7] ~= '' then redis.call('ZADD', KEYS[4], ARGV[7], id) else redis.call('ZREM', KEYS[4], id) end
local answer = {'back'}
for place = 2, 3 do
  local other = redis.call('GET', KEYS[place])
  if ARGV[4] == '0' then
    if other == id then redis.call('DEL', KEYS[place]) end
  else
    local held = other and other ~= id and redis.call('HMGET', ARGV[11] .. other, 'live', 'd') or {}
    local taken = held[1] == '1'
    local newer = taken and cjson.decode(held[2]).created_at >= cjson.decode(ARGV[5]).created_at
    if taken then
      answer[#answer + 1] = tostring(place)
      answer[#answer + 1] = newer and '' or held[2]
    end
    if not newer then redis.call('SET', KEYS[place], id, 'PX', ARGV[6]) end
  end
end
if ARGV[8] ~= '' then
  for place = 5, 6 do
    -- Newer calls may have ended since: newest first all the same.
    local ended = {{cjson.decode(ARGV[8]).ended_at, ARGV[8]}}
    for _, outcome in ipairs(redis.call('LRANGE', KEYS[place], 0, -1)) do
      if outcome ~= ARGV[8] then ended[#ended + 1] = {cjson.decode(outcome).ended_at, outcome} end
    end
    table.sort(ended, function(one, other) return one[1] > other[1] end)
    redis.call('DEL', KEYS[place])
    for rank = 1, math.min(#ended, tonumber(ARGV[10])) do redis.call('RPUSH', KEYS[place], ended[rank][2]) end
    redis.call('PEXPIRE', KEYS[place], ARGV[9])
  end
end
if ARGV[12] then outbox(ARGV[12]).append(13) end
return answer
