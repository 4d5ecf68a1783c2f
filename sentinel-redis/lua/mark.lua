-- Sets the marker of a bucket, and in each index the empty name: it tells one that was dropped from one that holds nothing
-- yet. Two writes at the least, always: together they end what may be open in the append-only file (see set.lua).
-- KEYS: marker, touch, both indexes. ARGV: the store.
redis.call('ZADD', KEYS[3], '0', '')
redis.call('ZADD', KEYS[4], '0', '')
redis.call('SET', KEYS[2], '0')
redis.call('SET', KEYS[1], ARGV[1])
