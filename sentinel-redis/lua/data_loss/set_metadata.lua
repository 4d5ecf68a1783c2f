-- Sets fields of the root, twice: two writes are a transaction in the append-only file.
--
-- Redis that finds its file cut within a command of a transaction cuts off that command, and leaves the transaction open
-- (seen with 7.0; valkey-io/valkey#4342 mends it there). It appends behind it, and at the next start takes all of that for a part of the
-- transaction, and drops it if no EXEC follows: what was acknowledged is gone. So whoever trusts a server that was restarted
-- ends what may be open there first, and whoever doubts is not forgotten.
-- KEYS: the root. ARGV: fields and their values.
redis.call('HSET', KEYS[1], unpack(ARGV))
redis.call('HSET', KEYS[1], unpack(ARGV))
