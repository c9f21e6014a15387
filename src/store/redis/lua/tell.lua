-- Tells a record to the nodes on which users have sessions, in the step that writes it. KEYS[first] on: the sessions of
-- these users. ARGV[at] on: the own node, what stands before a node in the name of its channel, the envelope up to its
-- body (`Envelope::head`), then each user or ''. Adds to the reply: of each user how many sessions, then each, then
-- of each node its name and how many heard.
local function tell(reply, record, first, at)
  local nodes, users_on = {}, {}
  for place = first, #KEYS do
    local user, sessions = ARGV[at + 3 + place - first], redis.call('HGETALL', KEYS[place])
    reply[#reply + 1] = tostring(#sessions / 2)
    for entry = 1, #sessions, 2 do
      reply[#reply + 1] = sessions[entry + 1]
      local node = string.match(sessions[entry], '^[^|]+')
      if node and node ~= ARGV[at] then
        local users = users_on[node]
        if not users then
          users = {}
          nodes[#nodes + 1], users_on[node] = node, users
        end
        if users[#users] ~= user then users[#users + 1] = user end
      end
    end
  end
  for _, node in ipairs(nodes) do
    local users = table.concat(users_on[node], '","')
    local body = ',"body":{"kind":"call","users":["' .. users .. '"],"call":' .. record .. '}}'
    reply[#reply + 1] = node
    reply[#reply + 1] = tostring(redis.call('PUBLISH', ARGV[at + 1] .. node, ARGV[at + 2] .. body))
  end
  return reply
end

