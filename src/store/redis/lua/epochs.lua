-- KEYS: epochs of a node that were not swept
-- ARGV: epoch that lives, ttl ms
-- Returns: the others
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local others = {}
for _, epoch in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if epoch ~= ARGV[1] then others[#others + 1] = epoch end
end
return others
