-- KEYS: calls
-- Returns: of each its version, followed by a blank and what it has of kept messages, if there are any; or ''
local versions = {}
for place, key in ipairs(KEYS) do
  local stored = redis.call('HMGET', key, 'v', 'kept')
  versions[place] = (stored[1] or '') .. (stored[1] and stored[2] and ' ' .. stored[2] or '')
end
return versions
