-- kernel::table::cancel, of an address without a row: a tombstone that remembers the call. Without a reply there is a
-- row: read again.
WITH at AS MATERIALIZED (
    SELECT {clock} AS now
), updated_record AS (
    INSERT INTO {records} (life, last_event, token, rev, last_now, lease_until, hard_until, effects_until,
        incarnation, kind, state, after_reset, namespace, key, past_claims, purge_at)
    SELECT now, 1, 0, 1, now, 0, 0, 0, 0, $3::text::{kind}, 'free', false, $2::text, $4::text, ARRAY[$5::uuid],
        now + {rest}
    FROM at
    ON CONFLICT DO NOTHING
    RETURNING life, last_now
), inserted_event AS (
    INSERT INTO {events} (record, seq, rev, at, token, after, change, claim_id)
    SELECT {this_record}, 1, 1, c.last_now, 0, 'free', 'cancelled', $5 FROM updated_record c
)
SELECT c.last_now FROM updated_record c
