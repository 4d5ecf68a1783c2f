-- kernel::table::claim: takes over a row that is free, lapsed, or completed past its retention. Its twin is `claimed`
-- in update.sql, which skips rows that are locked; this statement waits for the lock of its row.
WITH {locked_record}, updated_record AS (
    UPDATE {records} r
    SET state = CASE WHEN $11::bool THEN 'executing' ELSE 'claimed' END::{state},
        token = {next},
        incarnation = CASE WHEN h.incarnation = 0 OR h.state = 'completed' THEN {next} ELSE h.incarnation END,
        after_reset = h.after_reset AND NOT (h.incarnation = 0 OR h.state = 'completed'),
        claim_id = $5::uuid, past_claims = {remembered}, worker = $10::text,
        ttl = $6::int8, hard_ttl = $7::int8, late_effects = $12::int8, retention = $8::int8,
        fingerprint = $9::bytea, accepts = $13::text, cause = $14::text, about = $15::text,
        claimed_at = at.now, begun_at = CASE WHEN $11 THEN at.now END, completed_at = NULL,
        lease_until = at.now + $6, hard_until = at.now + $7, effects_until = at.now + $7 + $12,
        verdict = NULL, code = NULL, omitted = NULL, content_type = NULL, payload = NULL, doubt = NULL,
        {touched}, purge_at = NULL
    FROM locked_record h CROSS JOIN at
    WHERE {row}
      AND {claimable}
      AND h.claim_id IS DISTINCT FROM $5 AND NOT $5 = ANY (coalesce(h.past_claims, '{}'))
    RETURNING {updated_columns}, r.incarnation
), {inserted_implied_events}, inserted_event AS (
    INSERT INTO {events} ({logged}, change, claim_id, worker, ttl, hard_ttl, retention, fingerprint, incarnation, flag,
        late_effects, accepts, cause, about)
    SELECT {log}, 'claimed', $5, $10, $6, $7, $8, $9, c.incarnation, $11, $12, $13, $14, $15
    FROM updated_record c CROSS JOIN locked_record h
)
{reply}
