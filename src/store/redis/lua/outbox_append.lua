-- KEYS: letters
-- ARGV: outbox prefix, then as outbox.append
outbox(ARGV[1]).append(2)
return 1
