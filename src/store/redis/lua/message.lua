-- KEYS: call, its kept messages
-- ARGV: side of the sender (0: caller, 1: callee), now ms, id or '', what is to be kept or '', ttl ms, most messages and
--       most bytes kept, messages a minute (0: no limit), ids known
-- Returns: 'over' where the call is not live; 'wait' and ms where its side said too much; or the order of the message,
--          that of the last of its side that was kept before it, and '1' if it was placed before
local side, now, id, text = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local stored = redis.call('HMGET', KEYS[1], 'live', 'said' .. side, 'kept')
if stored[1] ~= '1' then return {'over'} end

local function words(of)
  local list = {}
  for word in string.gmatch(of, '%S+') do list[#list + 1] = word end
  return list
end
-- Order of the last message, when the allowance is whole again, and the last ids: each with its order and what was kept
-- before.
local said = words(stored[2] or '0 0')
-- Order of the last kept of the caller, of the callee, bytes kept, key.
local kept = words(stored[3] or '0 0 0')
for place = 3, #said do
  local known, order, before = string.match(said[place], '^(.*)=(%d+)=(%d+)$')
  if id ~= '' and known == id then return {order, before, '1'} end
end

local each = tonumber(ARGV[8])
if each > 0 then
  local whole = math.max(tonumber(said[2]), now) + 60000 / each
  if whole - now > 60000 then return {'wait', string.format('%.0f', math.ceil(whole - now - 60000))} end
  said[2] = string.format('%.0f', whole)
end
local order = string.format('%.0f', math.max(tonumber(said[1]) + 1, now * 1000))
local before = kept[side + 1]
said[1] = order
if id ~= '' then
  said[#said + 1] = id .. '=' .. order .. '=' .. before
  if #said > 2 + ARGV[9] then table.remove(said, 3) end
end
local fields = {'said' .. side, table.concat(said, ' ')}
if text ~= '' then
  -- An older version that ends a call leaves them behind.
  if not stored[3] then redis.call('DEL', KEYS[2]) end
  local entry = table.concat({side, order, id, text}, ' ')
  local count, bytes = redis.call('RPUSH', KEYS[2], entry), tonumber(kept[3]) + #entry
  while count > tonumber(ARGV[6]) or (bytes > tonumber(ARGV[7]) and count > 1) do
    bytes = bytes - #redis.call('LPOP', KEYS[2])
    count = count - 1
  end
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
  kept[side + 1], kept[3], kept[4] = order, string.format('%.0f', bytes), KEYS[2]
  fields[3], fields[4] = 'kept', table.concat(kept, ' ')
end
redis.call('HSET', KEYS[1], unpack(fields))
return {order, before, '0'}
