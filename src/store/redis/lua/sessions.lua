-- KEYS: sessions of users
-- ARGV: most of a user for each node and epoch
-- Returns: of each user, so many records for each node and epoch
local sessions = {}
for place, key in ipairs(KEYS) do
  local found, seen = {}, {}
  for _, field in ipairs(redis.call('HKEYS', key)) do
    local holder = string.match(field, '^(.*)|') or field
    seen[holder] = (seen[holder] or 0) + 1
    if seen[holder] <= tonumber(ARGV[1]) then found[#found + 1] = redis.call('HGET', key, field) end
  end
  sessions[place] = found
end
return sessions
