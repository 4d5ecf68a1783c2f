-- kernel::table::claim, of an address that has no row. Without a reply there is one, or another transaction is
-- inserting it: read again.
-- Its twin is `granted` in insert_complete.sql, which inserts many; this statement has no arrays to unpack.
INSERT INTO {records} (life, last_event, implied, token, rev, last_now, lease_until, hard_until, effects_until,
    incarnation, claimed_at, begun_at, ttl, hard_ttl, late_effects, retention, claim_id, kind, state, after_reset,
    namespace, key, worker, fingerprint, accepts, cause, about)
SELECT greatest(now, floor) + 1, 1, 1, greatest(now, floor) + 1, 1, now, now + $6::int8, now + $7::int8,
    now + $7::int8 + $12::int8, greatest(now, floor) + 1, now,
    CASE WHEN $11::bool THEN now END, $6, $7, $12, $8::int8, $5::uuid, $3::text::{kind},
    CASE WHEN $11 THEN 'executing' ELSE 'claimed' END::{state}, false, $2::text, $4::text, $10::text, $9::bytea,
    $13::text, $14::text, $15::text
FROM (
    SELECT {clock} AS now, coalesce((SELECT f.token FROM {floors} f WHERE f.namespace = $2), 0) AS floor
) at
WHERE NOT EXISTS (
    SELECT FROM {records} r WHERE r.namespace = $2 AND r.kind = $3::text::{kind} AND r.key = $4)
ON CONFLICT DO NOTHING
RETURNING token, last_now
