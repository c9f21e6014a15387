-- KEYS: notice, who claimed it
-- ARGV: claimant, how long it is claimed in ms
-- Returns: call, or '' where there is none or somebody else tells it
local call = redis.call('GET', KEYS[1])
if not call then return '' end
local claimant = redis.call('GET', KEYS[2])
if claimant and claimant ~= ARGV[1] then return '' end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return call
