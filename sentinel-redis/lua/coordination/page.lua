-- The reading of the clock, and the next keys of an index in byte order.
local index = ARGV[4] == YES and KEYS[4] or KEYS[3]
return { string.format('%.0f', clock), unpack(redis.call('ZRANGEBYLEX', index, ARGV[5], '+', 'LIMIT', 0, ARGV[6])) }
