-- KEYS: letters
-- ARGV: outbox prefix, queue, now, lease ends, limit, token
-- Returns: member, attempts, message of each
local prefix, queue, now, till, limit, token = unpack(ARGV)
local box = outbox(prefix)
for _, member in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'leased:' .. queue, '-inf', now, 'LIMIT', 0, limit)) do
  box.release(queue, member)
  box.wait(queue, member, now)
end
local claimed = {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'due:' .. queue, '-inf', now, 'LIMIT', 0, limit)) do
  redis.call('ZREM', prefix .. 'due:' .. queue, member)
  local _, _, attempts, json = box.read(box.first(member))
  if json then
    box.lease(queue, member, till, token)
    claimed[#claimed + 1] = member
    claimed[#claimed + 1] = attempts
    claimed[#claimed + 1] = json
  end
end
return claimed
