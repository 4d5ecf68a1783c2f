-- The keys that a purge may look at, the longest due first.
return redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', string.format('%.0f', clock), 'LIMIT', 0, ARGV[4])
