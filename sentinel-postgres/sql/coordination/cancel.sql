-- The call's claim is undone, or, on a free address, the call is remembered: its claim may still arrive.
WITH {locked_record}, updated_record AS (
    UPDATE {records} r
    SET {freed},
        past_claims = (ARRAY[$5::uuid] || array_remove(coalesce(h.past_claims, '{}'), $5))[1:8],
        {touched}, purge_at = {freed_purge_at}
    FROM locked_record h CROSS JOIN at
    WHERE {row}
      -- kernel::table::cancel: an abandoned run (a cause of doubt) is Untouched.
      AND (h.state IN ('claimed', 'executing') AND h.claim_id = $5 AND h.doubt IS NULL
           OR h.state = 'free' AND NOT $5 = ANY (coalesce(h.past_claims, '{}')))
    RETURNING {updated_columns}
), {inserted_implied_events}, inserted_event AS (
    INSERT INTO {events} ({logged}, change, claim_id, worker)
    SELECT {log}, 'cancelled', $5, h.worker FROM updated_record c CROSS JOIN locked_record h
)
{reply}
