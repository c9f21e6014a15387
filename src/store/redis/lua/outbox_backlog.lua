-- KEYS: letters
-- ARGV: outbox prefix
-- Returns: messages that wait, bytes, dead ones, oldest that waits or '', dropped ever
local prefix = ARGV[1]
local dead = redis.call('ZCARD', prefix .. 'dead')
local oldest = redis.call('ZRANGE', prefix .. 'order', 0, 0, 'WITHSCORES')
local stats = redis.call('HMGET', prefix .. 'stats', 'bytes', 'dropped')
local waiting = redis.call('HLEN', KEYS[1]) - dead
return {tostring(waiting), stats[1] or '0', tostring(dead), oldest[2] or '', stats[2] or '0'}
