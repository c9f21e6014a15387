-- KEYS: sessions of users
-- Returns: the records of each
local sessions = {}
for place, key in ipairs(KEYS) do sessions[place] = redis.call('HVALS', key) end
return sessions
