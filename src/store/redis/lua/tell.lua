-- Tells a record to the nodes on which users have sessions, in the step that writes it. KEYS[first] on: the sessions of
-- these users. ARGV[at] on: the own node, what stands before a node in the name of its channel, the envelope up to its
-- body (`Envelope::head`), then each user or ''. Adds to the reply: of each user how many sessions, then each, then
-- of each node its name and how many heard.
local function tell(reply, record, first, at)
  local own, nodes, users_on, last_on = ARGV[at], {}, {}, {}
  for place = first, #KEYS do
    local user, sessions = ARGV[at + 3 + place - first], redis.call('HGETALL', KEYS[place])
    reply[#reply + 1] = tostring(#sessions / 2)
    for entry = 1, #sessions, 2 do
      reply[#reply + 1] = sessions[entry + 1]
      local node = string.match(sessions[entry], '^[^|]+')
      if node and node ~= own and last_on[node] ~= user then
        if not last_on[node] then nodes[#nodes + 1] = node end
        users_on[node] = last_on[node] and users_on[node] .. '","' .. user or user
        last_on[node] = user
      end
    end
  end
  for _, node in ipairs(nodes) do
    -- Each long text that is made costs its length twice: this is one.
    local heard = redis.call('PUBLISH', ARGV[at + 1] .. node,
      ARGV[at + 2] .. ',"body":{"kind":"call","users":["' .. users_on[node] .. '"],"call":' .. record .. '}}')
    reply[#reply + 1] = node
    reply[#reply + 1] = tostring(heard)
  end
  return reply
end

