-- KEYS: letters
-- ARGV: outbox prefix, limit
-- Returns: died at, attempts, error, letter of each, newest first
local box, listed = outbox(ARGV[1]), {}
local newest = redis.call('ZREVRANGE', ARGV[1] .. 'dead', 0, ARGV[2] - 1, 'WITHSCORES')
for place = 1, #newest, 2 do
  local _, _, attempts, json = box.read(newest[place])
  if json then
    listed[#listed + 1] = newest[place + 1]
    listed[#listed + 1] = attempts
    listed[#listed + 1] = redis.call('HGET', ARGV[1] .. 'errors', newest[place]) or ''
    listed[#listed + 1] = json
  end
end
return listed
