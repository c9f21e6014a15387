-- KEYS: letters
-- ARGV: outbox prefix, limit
-- Returns: died at, attempts, error, message of each, newest first
local prefix, limit = unpack(ARGV)
local box, ids, times, listed = outbox(prefix), {}, {}, {}
local newest = redis.call('ZREVRANGE', prefix .. 'dead', 0, limit - 1, 'WITHSCORES')
for place = 1, #newest, 2 do
  ids[#ids + 1] = newest[place]
  times[#times + 1] = newest[place + 1]
end
if #ids == 0 then return {} end
local messages = redis.call('HMGET', prefix .. 'letters', unpack(ids))
local errors = redis.call('HMGET', prefix .. 'errors', unpack(ids))
for place, stored in ipairs(messages) do
  if stored then
    local _, _, attempts, json = box.parts(stored)
    listed[#listed + 1] = times[place]
    listed[#listed + 1] = attempts
    listed[#listed + 1] = errors[place] or ''
    listed[#listed + 1] = json
  end
end
return listed
