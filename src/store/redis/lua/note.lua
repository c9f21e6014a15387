-- KEYS: for each call, the call and its timeline
-- ARGV: for each call, how many milestones, then each
local place = 1
for call = 1, #KEYS, 2 do
  local key, count = KEYS[call + 1], tonumber(ARGV[place])
  local length = redis.call('RPUSHX', key, unpack(ARGV, place + 1, place + count))
  if length > 64 then redis.call('LTRIM', key, -64, -1) end
  -- A call that was put back after a loss has no timeline any more.
  local ttl = length == 0 and redis.call('PTTL', KEYS[call]) or 0
  if ttl > 0 then timeline(key, ttl, false, place) end
  place = place + count + 1
end
