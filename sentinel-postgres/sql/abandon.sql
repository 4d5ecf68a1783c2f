WITH {held}, changed AS (
    UPDATE {records} r
    SET lease_until = least(h.lease_until, at.now), hard_until = least(h.hard_until, at.now),
        effects_until = at.now + $8::int8, doubt = $7::text, {touched}
    FROM held h CROSS JOIN at
    WHERE {row}
      AND h.state = 'executing' AND h.token = $5::int8 AND h.claim_id = $6::uuid AND h.doubt IS NULL
    RETURNING {changed}
), {retold}, event AS (
    INSERT INTO {events} ({logged}, change, claim_id, worker, reason, effects_until)
    SELECT {log}, 'abandoned', $6, h.worker, $7, at.now + $8 FROM changed c CROSS JOIN held h CROSS JOIN at
)
{answer}
