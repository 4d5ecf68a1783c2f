-- Kernel `trim`: drops the oldest events of a record, and writes the oldest one that is kept anew, with the state that those
-- before it had come to. Behind the fixed keys stands the list of the record. Where its oldest event is not the one that was
-- read, others have dropped it, or the record is another: then there is nothing to do.
-- ARGV: how many are dropped, the oldest as it was read, and the oldest one that is kept as it is to be.
if redis.call('LRANGE', KEYS[7], 0, 0)[1] ~= ARGV[5] then return NO end
redis.call('LTRIM', KEYS[7], ARGV[4], -1)
redis.call('LSET', KEYS[7], 0, ARGV[6])
return YES
