-- The outbox, for every script that touches it. Beside the letters it keeps: order (pending letters by age), a list
-- for each call's chain, due and leased (members: c:call or r:letter) for each queue, holders (member to lease token),
-- dead, errors, stats. All keys share the prefix, and with it the slot.
-- A letter is stored as queue|chain|attempts|json; chain is empty for a letter that waits for no other.
local function outbox(prefix)
  local box = {}
  local function key(name) return prefix .. name end

  local function parts(stored) return string.match(stored, '^(.-)|(.-)|(.-)|(.*)$') end

  function box.member(chain, id) return chain ~= '' and 'c:' .. chain or 'r:' .. id end

  function box.bytes(by) redis.call('HINCRBY', key('stats'), 'bytes', by) end

  -- Takes a letter out of its chain; the chain's place in the queue goes with its last letter.
  function box.unchain(queue, chain, id)
    if chain == '' then return end
    redis.call('LREM', key('chain:' .. chain), 1, id)
    if redis.call('EXISTS', key('chain:' .. chain)) == 0 then redis.call('ZREM', key('due:' .. queue), 'c:' .. chain) end
  end

  -- Removes a letter from wherever it is, but not the lease over it.
  function box.forget(id)
    local stored = redis.call('HGET', key('letters'), id)
    if not stored then return end
    local queue, chain = parts(stored)
    redis.call('HDEL', key('letters'), id)
    box.bytes(-#stored)
    redis.call('ZREM', key('order'), id)
    if redis.call('ZREM', key('dead'), id) == 1 then redis.call('HDEL', key('errors'), id) end
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
    return parts(stored)
  end

  function box.wait(queue, member, at) redis.call('ZADD', key('due:' .. queue), at, member) end

  -- The letter that a member stands for, if it is still there.
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

  -- From ARGV[from] on: most letters, most bytes, then for each letter id, queue, chain, written at, due, json.
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
    local most, most_bytes = tonumber(ARGV[from]), tonumber(ARGV[from + 1])
    for _ = 1, 1000 do
      if redis.call('HLEN', key('letters')) <= most
        and tonumber(redis.call('HGET', key('stats'), 'bytes') or 0) <= most_bytes then break end
      local oldest = redis.call('ZRANGE', key('dead'), 0, 0)[1] or redis.call('ZRANGE', key('order'), 0, 0)[1]
      if not oldest then break end
      box.forget(oldest)
      redis.call('HINCRBY', key('stats'), 'dropped', 1)
    end
  end

  return box
end
