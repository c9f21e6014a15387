-- KEYS: watchers of users
-- ARGV: node
for _, key in ipairs(KEYS) do redis.call('SREM', key, ARGV[1]) end
return #KEYS
