-- KEYS: minutes
-- Returns: counter and sum, of all of them
local sums, reply = {}, {}
for _, key in ipairs(KEYS) do
  local counters = redis.call('HGETALL', key)
  for place = 1, #counters, 2 do
    sums[counters[place]] = (sums[counters[place]] or 0) + (tonumber(counters[place + 1]) or 0)
  end
end
for counter, sum in pairs(sums) do
  reply[#reply + 1] = counter
  reply[#reply + 1] = string.format('%.0f', sum)
end
return reply
