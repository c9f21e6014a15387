-- KEYS: lease expiries, nodes
-- ARGV: node, epoch, description, ttl ms
-- Returns: store time, 1 if the lease continued, then node, description, expiry of each lease
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local described = redis.call('HGET', KEYS[2], ARGV[1])
local expires_at = redis.call('ZSCORE', KEYS[1], ARGV[1])
local same_epoch = described and cjson.decode(described).epoch == tonumber(ARGV[2])
local continued = (same_epoch and expires_at and tonumber(expires_at) > now) and 1 or 0
redis.call('ZADD', KEYS[1], now + ARGV[4], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
local reply = {tostring(now), continued}
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
