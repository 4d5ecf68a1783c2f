-- kernel::table::evict: only a claim is freed, under the token that the operator saw. Another state is Executing or
-- NotClaimed, and another token is StaleDecision.
WITH {locked_record}, updated_record AS (
    UPDATE {records} r
    SET {freed}, past_claims = {remembered}, token = {next},
        {decided}, decision_kind = 'evict', decision_token = {next}, decision_digest = NULL,
        {touched}, purge_at = {freed_purge_at}
    FROM locked_record h CROSS JOIN at
    WHERE {row}
      AND h.state = 'claimed' AND h.token = $6
    RETURNING {updated_columns}
), {inserted_implied_events}, inserted_event AS (
    INSERT INTO {events} ({logged}, change, op_id, operator, reason)
    SELECT {log}, 'evicted', $5, $7, $8 FROM updated_record c CROSS JOIN locked_record h
)
{reply}
