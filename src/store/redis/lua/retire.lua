-- KEYS: lease expiries, nodes
-- ARGV: node, epoch or '' for any
local described = redis.call('HGET', KEYS[2], ARGV[1])
if ARGV[2] ~= '' and described and cjson.decode(described).epoch ~= tonumber(ARGV[2]) then return 0 end
redis.call('HDEL', KEYS[2], ARGV[1])
return redis.call('ZREM', KEYS[1], ARGV[1])
