-- KEYS: calls
local versions = {}
for place, key in ipairs(KEYS) do versions[place] = redis.call('HGET', key, 'v') or '' end
return versions
