-- KEYS: watchers of users
-- ARGV: node, ttl ms
for _, key in ipairs(KEYS) do
  redis.call('SADD', key, ARGV[1])
  redis.call('PEXPIRE', key, ARGV[2])
end
return #KEYS
