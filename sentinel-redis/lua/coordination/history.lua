-- The events of a record: the one that remains of an earlier record, the newest of the list, and those in the record
-- itself.
local record, events, gone = KEYS[8], KEYS[9], KEYS[10]
local stored, log = redis.call('GET', record), ''
if stored then log = decode(stored).log end
return { redis.call('GET', gone) or '', log, redis.call('LRANGE', events, -ARGV[4], -1) }
