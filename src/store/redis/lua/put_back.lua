-- KEYS: who has put back what in this life of the store
-- ARGV: node, what, ttl ms
-- Returns: node and what it has put back, for each
if redis.call('HGET', KEYS[1], ARGV[1]) ~= 'all' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return redis.call('HGETALL', KEYS[1])
