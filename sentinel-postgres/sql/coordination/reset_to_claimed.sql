-- kernel::table::reset_to_claimed. The incarnation stays: to the provider the next run is the same attempt. The
-- tombstone that holds it is not purged.
WITH {locked_record}, updated_record AS (
    UPDATE {records} r
    SET {freed}, past_claims = {remembered}, token = {next}, after_reset = true,
        {decided}, decision_kind = 'reset_to_claimed', decision_token = {next}, decision_digest = NULL,
        {touched}, purge_at = NULL
    FROM locked_record h CROSS JOIN at
    WHERE {row}
      AND h.state = 'reconciling' AND h.token = $6
      -- kernel::table::reset_to_claimed: until then EffectsMayLand.
      AND (at.now >= h.effects_until OR $9::bool)
    RETURNING {updated_columns}
), inserted_event AS (
    INSERT INTO {events} ({logged}, change, op_id, operator, reason)
    SELECT {log}, 'reset_to_claimed', $5, $7, $8 FROM updated_record c CROSS JOIN locked_record h
)
{reply}
