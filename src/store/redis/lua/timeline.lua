-- Appends milestones to a timeline that lives for ttl ms. From ARGV[from] on: how many, then each. Returns the place
-- behind the last. 64: `call::MILESTONES`.
local function timeline(key, ttl, from)
  local count = tonumber(ARGV[from])
  if count > 0 then
    if redis.call('RPUSH', key, unpack(ARGV, from + 1, from + count)) > 64 then redis.call('LTRIM', key, -64, -1) end
    redis.call('PEXPIRE', key, ttl)
  end
  return from + count + 1
end

