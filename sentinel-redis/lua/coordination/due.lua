-- The keys that a purge has to check, the longest due first.
return redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', string.format('%.0f', clock), 'LIMIT', 0, ARGV[4])
