-- kernel::table::force_complete: under the reconcile token, once, and with a result that callers of the key can decode.
WITH {locked_record}, updated_record AS (
    UPDATE {records} r
    SET state = 'completed', completed_at = at.now, verdict = $10::text::{verdict}, code = $11::int4,
        omitted = $12::bool, content_type = $13::text, payload = $14::bytea,
        {decided}, decision_kind = 'force_complete', decision_token = h.token, decision_digest = $9::bytea,
        {touched}, purge_at = {completed_purge_at}
    FROM locked_record h CROSS JOIN at
    WHERE {row}
      AND h.state = 'reconciling' AND h.token = $6
      -- kernel::table::force_complete: $15 is what callers would have to decode; else NotDecodable.
      AND ($15::text IS NULL OR h.accepts IS NULL OR $15 = ANY (string_to_array(h.accepts, ',')))
    RETURNING {updated_columns}
), inserted_event AS (
    INSERT INTO {events} ({logged}, change, op_id, worker, operator, reason, verdict, code, digest)
    SELECT {log}, 'force_completed', $5, h.worker, $7, $8, $10::text::{verdict}, $11, $9
    FROM updated_record c CROSS JOIN locked_record h
)
{reply}
