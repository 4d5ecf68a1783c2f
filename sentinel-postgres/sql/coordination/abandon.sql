-- kernel::table::abandon: a run that ends without a known outcome. One that was abandoned before is Repeat, and a grant
-- that is not the record's is Superseded.
WITH {locked_record}, updated_record AS (
    UPDATE {records} r
    SET lease_until = least(h.lease_until, at.now), hard_until = least(h.hard_until, at.now),
        effects_until = at.now + $8::int8, doubt = $7::text, {touched}
    FROM locked_record h CROSS JOIN at
    WHERE {row}
      AND h.state = 'executing' AND h.token = $5::int8 AND h.claim_id = $6::uuid AND h.doubt IS NULL
    RETURNING {updated_columns}
), {inserted_implied_events}, inserted_event AS (
    INSERT INTO {events} ({logged}, change, claim_id, worker, reason, effects_until)
    SELECT {log}, 'abandoned', $6, h.worker, $7, at.now + $8
    FROM updated_record c CROSS JOIN locked_record h CROSS JOIN at
)
{reply}
