WITH {held}, changed AS (
    UPDATE {records} r
    SET {freed}, past_claims = {remembered}, token = {next},
        {decided}, decision_kind = 'evict', decision_token = {next}, decision_digest = NULL,
        {touched}, purge_at = {freed_purge_at}
    FROM held h CROSS JOIN at
    WHERE {row}
      AND h.state = 'claimed' AND h.token = $6
    RETURNING {changed}
), {retold}, event AS (
    INSERT INTO {events} ({logged}, change, op_id, operator, reason)
    SELECT {log}, 'evicted', $5, $7, $8 FROM changed c CROSS JOIN held h
)
{answer}
