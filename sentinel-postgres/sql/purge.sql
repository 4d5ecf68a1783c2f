-- Deletes what has served, at most so many. The row stays, emptied, for as long as the event that tells of the purge.
WITH ripe AS MATERIALIZED (
    SELECT id, kind, key, state, token, rev, last_now, last_event, clock.now
    FROM {records} r, (SELECT {clock} AS now) clock
    WHERE namespace = $2::text AND purge_at <= clock.now AND rev > 0 AND state IN ('free', 'completed')
    ORDER BY purge_at, id LIMIT $3::int8
    FOR UPDATE OF r SKIP LOCKED
), floor AS (
    INSERT INTO {floors} AS f (namespace, token)
    SELECT $2, max(token) FROM ripe HAVING count(*) > 0
    ON CONFLICT (namespace) DO UPDATE SET token = greatest(f.token, excluded.token)
), forgotten AS (
    DELETE FROM {events} e USING ripe p WHERE e.record = p.id
), event AS (
    INSERT INTO {events} (record, seq, rev, at, token, before, change)
    SELECT p.id, p.last_event + 1, p.rev + 1, greatest(p.now, p.last_now), p.token, p.state, 'purged' FROM ripe p
), emptied AS (
    UPDATE {records} r
    SET {freed}, last_event = r.last_event + 1, purge_at = greatest(p.now, p.last_now) + {rest}, token = 0, rev = 0, implied = 0,
        last_now = 0, incarnation = 0, after_reset = false, past_claims = NULL, decision_op_id = NULL,
        decision_kind = NULL, decision_token = NULL, decision_presented = NULL, decision_at = NULL,
        decision_digest = NULL, decision_operator = NULL, decision_reason = NULL
    FROM ripe p
    WHERE r.namespace = $2 AND r.kind = p.kind AND r.key = p.key AND r.id = p.id
    RETURNING 1
)
SELECT count(*) FROM emptied
