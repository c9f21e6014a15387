-- KEYS: letters
-- ARGV: outbox prefix, queue, member, message, token, now, what (done, later, apart, dead), attempts,
--       at (later, apart) or lease ends (done), error (dead)
-- Returns: attempts and message that the lease goes over to, if any
local prefix, queue, member, id, token, now, what, attempts, at, problem = unpack(ARGV)
local box = outbox(prefix)
local held = redis.call('HGET', prefix .. 'holders', member) == token
if what == 'done' then box.forget(id) end
if not held then return {} end
if what == 'done' then
  local _, _, tried, json = box.read(box.first(member))
  if json then
    box.lease(queue, member, at, token)
    return {tried, json}
  end
end
box.release(queue, member)
local _, chain, _, json = box.read(id)
local again = now
if json and what == 'later' then
  box.write(id, queue, chain, attempts, json)
  again = at
elseif json and what == 'apart' then
  box.write(id, queue, '', attempts, json)
  box.unchain(queue, chain, id)
  box.wait(queue, 'r:' .. id, at)
elseif json and what == 'dead' then
  box.write(id, queue, '', attempts, json)
  box.unchain(queue, chain, id)
  redis.call('ZREM', prefix .. 'order', id)
  redis.call('ZADD', prefix .. 'dead', now, id)
  redis.call('HSET', prefix .. 'errors', id, problem)
  box.index(id, (box.about(json)), now)
end
local first = box.first(member)
if first and redis.call('HEXISTS', prefix .. 'letters', first) == 1 and not redis.call('ZSCORE', prefix .. 'dead', first) then
  redis.call('ZADD', prefix .. 'due:' .. queue, 'NX', again, member)
end
return {}
