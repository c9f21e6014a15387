-- Appends milestones to a timeline. From ARGV[from] on: how many, then each. It is to live for ttl ms from its first
-- milestone, and from those of a change that ends the call. Returns the place behind the last. 64: `call::MILESTONES`.
local function timeline(key, ttl, ends, from)
  local count = tonumber(ARGV[from])
  if count > 0 then
    local length = redis.call('RPUSH', key, unpack(ARGV, from + 1, from + count))
    if length > 64 then redis.call('LTRIM', key, -64, -1) end
    if length == count or ends then redis.call('PEXPIRE', key, ttl) end
  end
  return from + count + 1
end

