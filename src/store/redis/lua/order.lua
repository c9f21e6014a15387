-- The order of calls and of their ends: each larger than every one before, and no smaller than this server's time in
-- microseconds, so that a store that was emptied goes on above what it had. Numbers are exact below 2^53.
local function newest_order(key)
  return tonumber(redis.call('GET', key) or 0)
end

local function set_order(key, order)
  local text = string.format('%.0f', order)
  redis.call('SET', key, text)
  return text
end

-- After the newest, at this server's time.
local function next_order(key, newest, time)
  return set_order(key, math.max(tonumber(newest or 0) + 1, time[1] * 1000000 + time[2]))
end

-- After whatever is the newest, in one command where this server's time has moved on.
local function later_order(key, time)
  local order = time[1] * 1000000 + time[2]
  local newest = redis.call('SET', key, string.format('%.0f', order), 'GET')
  if newest and tonumber(newest) >= order then return set_order(key, tonumber(newest) + 1) end
  return string.format('%.0f', order)
end

-- A record with its order, and with that of its end if it is over: both stand at its beginning, 0 until now.
local function with_order(record, order)
  if string.sub(record, 1, 11) ~= '{"order":0,' then return record end
  return '{"order":' .. order .. string.sub(record, 11)
end

local function with_end(record, order)
  local before, after = string.match(record, '^({"order":%d+,"over":)0()')
  if not before or string.sub(record, after, after) ~= ',' then return record end
  return before .. order .. string.sub(record, after)
end

