-- What is kept of a record's events: the one that remains of an earlier record, the newest of the list, the newest of all.
local record, events, gone = KEYS[7], KEYS[8], KEYS[9]
local stored, log = redis.call('GET', record), ''
if stored then log = decode(stored).log end
return { redis.call('GET', gone) or '', log, redis.call('LRANGE', events, -ARGV[4], -1) }
