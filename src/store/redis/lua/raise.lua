-- KEYS: order
-- ARGV: an order that somebody has heard of
if tonumber(ARGV[1]) > newest_order(KEYS[1]) then set_order(KEYS[1], tonumber(ARGV[1])) end
return 1
