-- The reading of the clock, and the next entries of the index of causes in byte order. ARGV: behind which, before which,
-- how many.
return { string.format('%.0f', clock), unpack(redis.call('ZRANGEBYLEX', KEYS[7], ARGV[4], ARGV[5], 'LIMIT', 0, ARGV[6])) }
