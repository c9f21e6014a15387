-- KEYS: generation
-- ARGV: name of a new generation
-- Returns: what changes when this store lost what was written: its name, and the run of the server that holds it
local name = redis.call('GET', KEYS[1])
if not name then
  name = ARGV[1]
  redis.call('SET', KEYS[1], name)
end
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
return name .. '|' .. run
