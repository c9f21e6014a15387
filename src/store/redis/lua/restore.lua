-- KEYS: call, caller's line, callee's line, deadlines, caller's outcomes, callee's outcomes
-- ARGV: id, version, its counter, live (1|0), record, ttl ms, deadline or '', outcome or '', outcome ttl ms, outcome cap,
--       call key prefix, outbox prefix and what outbox.append takes, if there are letters
-- Returns: 1 where the record was absent or older
local id = ARGV[1]
local stored = redis.call('HGET', KEYS[1], 'v')
if stored and tonumber(string.match(stored, '^%d+')) >= tonumber(ARGV[3]) then return 0 end

redis.call('HSET', KEYS[1], 'v', ARGV[2], 'live', ARGV[4], 'd', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
if ARGV[7] ~= '' then redis.call('ZADD', KEYS[4], ARGV[7], id) else redis.call('ZREM', KEYS[4], id) end
for place = 2, 3 do
  local other = redis.call('GET', KEYS[place])
  local taken = other and other ~= id and redis.call('HGET', ARGV[11] .. other, 'live') == '1'
  if ARGV[4] == '1' and not taken then
    redis.call('SET', KEYS[place], id, 'PX', ARGV[6])
  elseif ARGV[4] == '0' and other == id then
    redis.call('DEL', KEYS[place])
  end
end
if ARGV[8] ~= '' then
  for place = 5, 6 do
    redis.call('LREM', KEYS[place], 0, ARGV[8])
    redis.call('LPUSH', KEYS[place], ARGV[8])
    redis.call('LTRIM', KEYS[place], 0, ARGV[10] - 1)
    redis.call('PEXPIRE', KEYS[place], ARGV[9])
  end
end
if ARGV[12] then outbox(ARGV[12]).append(13) end
return 1
