-- Lists an outcome before those of a user, for ttl ms from the newest. So many are read; up to four times as many are
-- kept, so that seldom one command more is needed.
local function list(key, outcome, most, ttl)
  if redis.call('LPUSH', key, outcome) > 4 * most then redis.call('LTRIM', key, 0, most - 1) end
  redis.call('PEXPIRE', key, ttl)
end

