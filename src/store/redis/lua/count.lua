-- Adds one to counters of the minute in which a call ended: key, ttl ms and counters, between blanks, or ''. Whatever is
-- wrong there, the call ends.
local function count(text)
  local words = {}
  for word in string.gmatch(text, '%S+') do words[#words + 1] = word end
  for place = 3, #words do
    local first = redis.pcall('HINCRBY', words[1], words[place], '1') == 1
    -- A minute that is new has none of its counters.
    if first and place == 3 then redis.pcall('PEXPIRE', words[1], words[2]) end
  end
end

