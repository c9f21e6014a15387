-- KEYS: line, outcomes, order
-- ARGV: call key prefix, outcome cap (0: none wanted)
-- Returns: live call on the line or '', newest order, record of the newest outcome or '', outcomes, newest first
local function record(id, only_live)
  local stored = redis.call('HMGET', ARGV[1] .. id, 'live', 'd')
  if not stored[2] or (only_live and stored[1] ~= '1') then return '' end
  return stored[2]
end
local id = redis.call('GET', KEYS[1])
local line = id and record(id, true) or ''
if ARGV[2] == '0' then return {line} end
local outcomes = redis.call('LRANGE', KEYS[2], 0, ARGV[2] - 1)
-- One that another version wrote in another form names no call.
local readable, newest = pcall(cjson.decode, outcomes[1] or '{}')
local last_id = readable and type(newest) == 'table' and newest.call_id
local last = type(last_id) == 'string' and record(last_id, false) or ''
return {line, redis.call('GET', KEYS[3]) or '0', last, unpack(outcomes)}
