-- Sets the marker of a bucket, and in each index the empty name: it distinguishes an index that was dropped from one
-- that is empty. There are always at least two writes: together they end a transaction that may be open in the
-- append-only file (see set_metadata.lua).
-- KEYS: marker, touch, both indexes, both of the undecided. ARGV: the store, and a name that is longer than what Redis
-- keeps in a short list: a sorted set that has it is a tree from the beginning, where an entry costs a third.
redis.call('ZADD', KEYS[3], '0', '')
redis.call('ZADD', KEYS[4], '0', '')
redis.call('ZADD', KEYS[5], '0', ARGV[2])
redis.call('ZADD', KEYS[6], '0', ARGV[2])
redis.call('SET', KEYS[2], '0')
redis.call('SET', KEYS[1], ARGV[1])
