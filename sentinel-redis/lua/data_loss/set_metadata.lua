-- Sets fields of the store's metadata, twice: two writes are a transaction in the append-only file.
--
-- If the append-only file ends within a command of a transaction, Redis removes that command at its start and leaves
-- the transaction open (seen with 7.0; valkey-io/valkey#4342 fixes it there). It appends later writes, reads them as a
-- part of that transaction at its next start, and drops them if no EXEC follows: acknowledged writes are lost. So a
-- client that trusts a restarted server, or records a doubt, ends a transaction that may be open there first.
-- KEYS: the metadata. ARGV: fields and their values.
redis.call('HSET', KEYS[1], unpack(ARGV))
redis.call('HSET', KEYS[1], unpack(ARGV))
