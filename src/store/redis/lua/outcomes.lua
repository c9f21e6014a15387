-- Lists an outcome before those of a user, of which so many are kept, for ttl ms from the newest.
local function list(key, outcome, most, ttl)
  if redis.call('LPUSH', key, outcome) > tonumber(most) then redis.call('LTRIM', key, 0, most - 1) end
  redis.call('PEXPIRE', key, ttl)
end

