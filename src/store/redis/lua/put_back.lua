-- KEYS: who has put back what in this life of the store, when the first of them decided again
-- ARGV: node, what (nothing|told|all|decides), ttl ms of each
-- Returns: how many ms ago the first decided again or '', node and what it has put back, for each
local said = redis.call('HGET', KEYS[1], ARGV[1])
if ARGV[2] == 'decides' or said ~= 'all' and said ~= 'decides' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[2] == 'decides' then redis.call('SET', KEYS[2], string.format('%.0f', now), 'PX', ARGV[4], 'NX') end
local since = tonumber(redis.call('GET', KEYS[2]) or '')
local reply = redis.call('HGETALL', KEYS[1])
table.insert(reply, 1, since and string.format('%.0f', math.max(0, now - since)) or '')
return reply
