-- KEYS: order
-- ARGV: an order that somebody has heard of
-- Returns: the newest order
local newest = newest_order(KEYS[1])
if tonumber(ARGV[1]) > newest then return set_order(KEYS[1], tonumber(ARGV[1])) end
return string.format('%.0f', newest)
