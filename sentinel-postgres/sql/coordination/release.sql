-- kernel::table::release. A vouched release of what began ends the incarnation: the next claim is a new attempt to the
-- provider. Its twin is `released` in update.sql, which skips rows that are locked; this statement waits for the lock
-- of its row.
WITH {locked_record}, updated_record AS (
    UPDATE {records} r
    SET {freed}, past_claims = {remembered},
        incarnation = CASE WHEN h.state = 'executing' THEN 0 ELSE h.incarnation END,
        after_reset = h.after_reset AND h.state <> 'executing',
        {touched},
        purge_at = CASE WHEN h.after_reset AND h.state <> 'executing' THEN NULL ELSE at.now + {rest} END
    FROM locked_record h CROSS JOIN at
    WHERE {row}
      -- kernel::table::release: an abandoned run (a cause of doubt) is MayHaveRun.
      AND (h.state = 'claimed' OR h.state = 'executing' AND $7::bool AND h.doubt IS NULL)
      AND h.token = $5::int8 AND h.claim_id = $6::uuid
    RETURNING {updated_columns}
), {inserted_implied_events}, inserted_event AS (
    INSERT INTO {events} ({logged}, change, claim_id, worker, flag)
    SELECT {log}, 'released', $6, h.worker, h.state = 'executing' FROM updated_record c CROSS JOIN locked_record h
)
{reply}
