-- KEYS: lease expiries, nodes, clock
-- ARGV: node, epoch, description, ttl ms, store time or '', slew in parts in a million
-- Returns: own clock, shift, how often it was shifted, 1 if the lease continued, then node, description, expiry of each lease
--
-- The shift is what takes back the steps of this server's clock; it goes back to 0 little by little.
local time = redis.call('TIME')
local own = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = redis.call('HMGET', KEYS[3], 'shift', 'slewed', 'shifts')
local shift = tonumber(kept[1] or 0)
if shift ~= 0 then
  local passed = math.min(math.max(own - tonumber(kept[2] or own), 0), 10000)
  local slewed = math.floor(passed * ARGV[6] / 1000000)
  if slewed > 0 then
    shift = shift > 0 and math.max(shift - slewed, 0) or math.min(shift + slewed, 0)
    redis.call('HSET', KEYS[3], 'shift', string.format('%.0f', shift), 'slewed', string.format('%.0f', own))
  elseif not kept[2] or own < tonumber(kept[2]) then
    redis.call('HSET', KEYS[3], 'slewed', string.format('%.0f', own))
  end
end
local now = tonumber(ARGV[5]) or own + shift
local described = redis.call('HGET', KEYS[2], ARGV[1])
local expires_at = redis.call('ZSCORE', KEYS[1], ARGV[1])
local same_epoch = described and cjson.decode(described).epoch == tonumber(ARGV[2])
local continued = (same_epoch and expires_at and tonumber(expires_at) > now) and '1' or '0'
redis.call('ZADD', KEYS[1], now + ARGV[4], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
local reply = {string.format('%.0f', own), string.format('%.0f', shift), kept[3] or '0', continued}
local nodes = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for place = 1, #nodes, 2 do
  local description = redis.call('HGET', KEYS[2], nodes[place])
  if description then
    reply[#reply + 1] = nodes[place]
    reply[#reply + 1] = description
    reply[#reply + 1] = nodes[place + 1]
  end
end
return reply
