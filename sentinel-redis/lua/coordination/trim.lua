-- kernel::rebuild::trim: drops the oldest events of a record, and replaces the oldest one that is kept by one with the
-- state that the dropped ones led to. The list of the record comes after the fixed keys. If its oldest event is not the
-- one that was read, another client has dropped it, or the record is another: then there is nothing to do. ARGV: how
-- many are dropped, the oldest as it was read, and the oldest one that is kept as it is to be.
if redis.call('LRANGE', KEYS[8], 0, 0)[1] ~= ARGV[5] then return NO end
redis.call('LTRIM', KEYS[8], ARGV[4], -1)
redis.call('LSET', KEYS[8], 0, ARGV[6])
return YES
