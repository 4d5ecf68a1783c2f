-- kernel::table::complete: expiry does not matter. The worker of this grant knows the outcome, so an uncertain run
-- completes. Its twin is `completed` in insert_complete.sql, which skips rows that are locked; this statement waits.
WITH {locked_record}, updated_record AS (
    UPDATE {records} r
    SET state = 'completed', completed_at = at.now, verdict = $7::text::{verdict}, code = $8::int4,
        omitted = $9::bool, content_type = $10::text, payload = $11::bytea,
        {touched_by_completion}, purge_at = {completed_purge_at}
    FROM locked_record h CROSS JOIN at
    WHERE {row}
      AND h.state = 'executing' AND h.token = $5::int8 AND h.claim_id = $6::uuid
    RETURNING {updated_columns}
), inserted_event AS (
    INSERT INTO {events} ({logged}, change, claim_id, worker, verdict, code, flag)
    SELECT {log}, 'completed', $6, h.worker, $7::text::{verdict}, $8, at.now >= h.lease_until
    FROM updated_record c CROSS JOIN locked_record h CROSS JOIN at
    WHERE h.implied <> 1
)
{reply}
