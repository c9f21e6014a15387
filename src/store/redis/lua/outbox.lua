-- The outbox, for every script that touches it. Beside the messages it keeps: order (pending messages by age), a list
-- for each call's chain, due and leased (members: c:call or r:message) for each queue, holders (member to lease token),
-- dead (by time of death), dead_of:<call> (its dead letters), errors, stats. All keys share the prefix, and with it the
-- slot.
-- A message is stored as queue|chain|attempts|json; chain is empty for a message that waits for no other.
local function outbox(prefix)
  local box = {}
  local function key(name) return prefix .. name end

  -- Queue, chain, attempts and message of what is stored.
  function box.parts(stored) return string.match(stored, '^(.-)|(.-)|(.-)|(.*)$') end

  function box.member(chain, id) return chain ~= '' and 'c:' .. chain or 'r:' .. id end

  function box.bytes(by) redis.call('HINCRBY', key('stats'), 'bytes', by) end

  -- Takes a message out of its chain; the chain's place in the queue goes with its last message.
  function box.unchain(queue, chain, id)
    if chain == '' then return end
    redis.call('LREM', key('chain:' .. chain), 1, id)
    if redis.call('EXISTS', key('chain:' .. chain)) == 0 then redis.call('ZREM', key('due:' .. queue), 'c:' .. chain) end
  end

  -- The call that a message is about, if any, and when it was written. What can't be read stops no other.
  function box.about(json)
    local readable, message = pcall(cjson.decode, json)
    if not readable or type(message) ~= 'table' then return nil, nil end
    return type(message.call) == 'string' and message.call or nil, tonumber(message.at)
  end

  -- Lists a dead letter under its call. What a node of an older version removes stays listed until it expires: messages
  -- are dead for 30 days at most.
  function box.index(id, call, died)
    if not call then return end
    redis.call('ZADD', key('dead_of:' .. call), died, id)
    redis.call('PEXPIRE', key('dead_of:' .. call), 60 * 24 * 3600 * 1000)
  end

  function box.unindex(id, call)
    if call then redis.call('ZREM', key('dead_of:' .. call), id) end
  end

  -- Removes dead letters altogether, all in few commands.
  function box.forget_dead(ids)
    if #ids == 0 then return end
    local bytes = 0
    for place, stored in ipairs(redis.call('HMGET', key('letters'), unpack(ids))) do
      if stored then
        local _, _, _, json = box.parts(stored)
        box.unindex(ids[place], (box.about(json)))
        bytes = bytes + #stored
      end
    end
    redis.call('HDEL', key('letters'), unpack(ids))
    redis.call('ZREM', key('dead'), unpack(ids))
    redis.call('HDEL', key('errors'), unpack(ids))
    box.bytes(-bytes)
  end

  -- Removes a message from wherever it is, but not the lease over it.
  function box.forget(id)
    local stored = redis.call('HGET', key('letters'), id)
    if redis.call('ZREM', key('order'), id) == 0 and redis.call('ZSCORE', key('dead'), id) then
      return box.forget_dead({id})
    end
    if not stored then return end
    local queue, chain = box.parts(stored)
    redis.call('HDEL', key('letters'), id)
    box.bytes(-#stored)
    redis.call('ZREM', key('due:' .. queue), 'r:' .. id)
    box.unchain(queue, chain, id)
  end

  function box.write(id, queue, chain, attempts, json)
    local stored = queue .. '|' .. chain .. '|' .. attempts .. '|' .. json
    local before = redis.call('HGET', key('letters'), id)
    redis.call('HSET', key('letters'), id, stored)
    box.bytes(#stored - (before and #before or 0))
  end

  function box.read(id)
    local stored = id and redis.call('HGET', key('letters'), id)
    if not stored then return end
    return box.parts(stored)
  end

  function box.wait(queue, member, at) redis.call('ZADD', key('due:' .. queue), at, member) end

  -- The message that a member stands for, if it is still there.
  function box.first(member)
    if string.sub(member, 1, 2) == 'r:' then return string.sub(member, 3) end
    return redis.call('LINDEX', key('chain:' .. string.sub(member, 3)), 0)
  end

  function box.lease(queue, member, till, token)
    redis.call('ZADD', key('leased:' .. queue), till, member)
    redis.call('HSET', key('holders'), member, token)
  end

  function box.release(queue, member)
    redis.call('ZREM', key('leased:' .. queue), member)
    redis.call('HDEL', key('holders'), member)
  end

  -- From ARGV[from] on: most messages, most bytes, then for each message id, queue, chain, written at, due, json.
  function box.append(from)
    if not ARGV[from + 2] then return end
    for place = from + 2, #ARGV, 6 do
      local id, queue, chain, at, due, json = unpack(ARGV, place, place + 5)
      if redis.call('HEXISTS', key('letters'), id) == 0 then
        box.write(id, queue, chain, 0, json)
        redis.call('ZADD', key('order'), at, id)
        if chain ~= '' then redis.call('RPUSH', key('chain:' .. chain), id) end
        local member = box.member(chain, id)
        if not redis.call('ZSCORE', key('leased:' .. queue), member) then
          redis.call('ZADD', key('due:' .. queue), 'NX', due, member)
        end
      end
    end
    -- As much as comes goes; what is over the bounds all the same goes with the next, or in upkeep.
    box.trim(tonumber(ARGV[from]), tonumber(ARGV[from + 1]), 20)
  end

  -- Drops the oldest beyond the bounds, dead ones first; returns how many, `limit` at most.
  function box.trim(most, most_bytes, limit)
    local over = math.min(redis.call('HLEN', key('letters')) - most, limit)
    local dead = over > 0 and redis.call('ZRANGE', key('dead'), 0, over - 1) or {}
    box.forget_dead(dead)
    local dropped = #dead
    while dropped < limit do
      if redis.call('HLEN', key('letters')) <= most
        and tonumber(redis.call('HGET', key('stats'), 'bytes') or 0) <= most_bytes then break end
      local oldest = redis.call('ZRANGE', key('dead'), 0, 0)[1] or redis.call('ZRANGE', key('order'), 0, 0)[1]
      if not oldest then break end
      box.forget(oldest)
      dropped = dropped + 1
    end
    if dropped > 0 then redis.call('HINCRBY', key('stats'), 'dropped', dropped) end
    return dropped
  end

  return box
end
