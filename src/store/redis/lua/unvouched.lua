-- KEYS: deadlines, calls vouched for in this generation, when it was lost
-- ARGV: cursor, about how many, call key prefix
-- Returns: next cursor or '0', when it was lost or '', live calls that nobody vouched for
local scanned = redis.call('ZSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local reply = {scanned[1], redis.call('GET', KEYS[3]) or ''}
for place = 1, #scanned[2], 2 do
  local id = scanned[2][place]
  if redis.call('SISMEMBER', KEYS[2], id) == 0 and redis.call('HGET', ARGV[3] .. id, 'live') == '1' then
    reply[#reply + 1] = id
  end
end
return reply
