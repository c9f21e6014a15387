-- KEYS: call, early commands of its sender
-- ARGV: field, value (time|early command), now, retention ms, cap
local stored = redis.call('HGET', KEYS[1], 'd')
if stored then return stored end
redis.call('HDEL', KEYS[2], ARGV[1])
local count, oldest, oldest_at = 0, nil, nil
local all = redis.call('HGETALL', KEYS[2])
for place = 1, #all, 2 do
  local at = tonumber(string.match(all[place + 1], '^(%d+)|') or 0)
  if at + tonumber(ARGV[4]) <= tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[2], all[place])
  else
    count = count + 1
    if not oldest_at or at < oldest_at then oldest, oldest_at = all[place], at end
  end
end
if count >= tonumber(ARGV[5]) then redis.call('HDEL', KEYS[2], oldest) end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return ''
