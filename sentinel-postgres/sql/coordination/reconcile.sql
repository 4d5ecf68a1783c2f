-- kernel::table::reconcile: the same op id is Repeat, another token StaleDecision, a live run StillAlive, and a key
-- that another operator holds HeldBy.
WITH {locked_record}, updated_record AS (
    UPDATE {records} r
    SET state = 'reconciling', token = {next}, claim_id = NULL, past_claims = {remembered},
        {decided}, decision_kind = 'reconcile', decision_token = {next}, decision_digest = NULL,
        {touched}
    FROM locked_record h CROSS JOIN at
    WHERE {row}
      AND NOT (h.decision_op_id IS NOT DISTINCT FROM $5 AND h.decision_kind = 'reconcile')
      AND h.token = $6
      AND (h.state = 'executing' AND (at.now >= h.lease_until OR $9::bool) OR h.state = 'reconciling' AND $10::bool)
    RETURNING {updated_columns}
), {inserted_implied_events}, inserted_event AS (
    INSERT INTO {events} ({logged}, change, op_id, worker, operator, reason)
    SELECT {log}, 'reconciling', $5, h.worker, $7, $8 FROM updated_record c CROSS JOIN locked_record h
)
{reply}
