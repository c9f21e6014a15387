-- KEYS: sessions of the user, users online in this shard, users of this node and epoch in this shard,
--       nodes that watch the user
-- ARGV: field (node|epoch|session), record, user, ttl ms
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('SADD', KEYS[3], ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[4])
return {redis.call('HVALS', KEYS[1]), redis.call('SMEMBERS', KEYS[4])}
