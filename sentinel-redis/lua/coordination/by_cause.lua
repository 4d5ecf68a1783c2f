-- The reading of the clock, and the next entries of the index of causes in byte order. ARGV: behind which, before
-- which, how many.
local entries = redis.call('ZRANGEBYLEX', KEYS[7], ARGV[4], ARGV[5], 'LIMIT', 0, ARGV[6])
return { string.format('%.0f', clock), unpack(entries) }
