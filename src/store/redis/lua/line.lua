-- KEYS: line, outcomes, order
-- ARGV: call key prefix, outcome cap (0: none wanted)
-- Returns: live call on the line or '', newest order, followed by a blank and what that call has of kept messages, record of the newest outcome or '', outcomes, newest first
local function record(id, only_live)
  local stored = redis.call('HMGET', ARGV[1] .. id, 'live', 'd', 'kept')
  if not stored[2] or (only_live and stored[1] ~= '1') then return '' end
  return stored[2], stored[3]
end
local id = redis.call('GET', KEYS[1])
local line, kept = '', false
if id then line, kept = record(id, true) end
if ARGV[2] == '0' then return {line} end
local outcomes = redis.call('LRANGE', KEYS[2], 0, ARGV[2] - 1)
-- One that another version wrote in another form names no call.
local readable, newest = pcall(cjson.decode, outcomes[1] or '{}')
local last_id = readable and type(newest) == 'table' and newest.call_id
local last = type(last_id) == 'string' and record(last_id, false) or ''
local order = redis.call('GET', KEYS[3]) or '0'
return {line, kept and order .. ' ' .. kept or order, last, unpack(outcomes)}
