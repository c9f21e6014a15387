-- KEYS: for each call, the call and its timeline
-- ARGV: for each call, what timeline takes
local place = 1
for call = 1, #KEYS, 2 do
  local ttl = redis.call('PTTL', KEYS[call])
  if ttl > 0 then
    place = timeline(KEYS[call + 1], ttl, place)
  else
    place = place + tonumber(ARGV[place]) + 1
  end
end
