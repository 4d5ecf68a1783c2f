-- kernel::table::begin: begins a claim. Its twin is `begun` in update.sql, which skips rows that are locked; this
-- statement waits for the lock of its row.
WITH {locked_record}, updated_record AS (
    UPDATE {records} r
    SET state = 'executing', begun_at = at.now, {touched}
    FROM locked_record h CROSS JOIN at
    WHERE {row}
      -- kernel::table::begin: a claim that has lapsed is Expired.
      AND h.state = 'claimed' AND h.token = $5::int8 AND h.claim_id = $6::uuid
      AND at.now < h.lease_until AND at.now < h.hard_until
    RETURNING {updated_columns}
), {inserted_implied_events}, inserted_event AS (
    INSERT INTO {events} ({logged}, change, claim_id, worker)
    SELECT {log}, 'begun', $6, h.worker FROM updated_record c CROSS JOIN locked_record h
)
{reply}
