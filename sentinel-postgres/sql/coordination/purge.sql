-- Deletes what is no longer needed: one page of the rows that are due, in the order of time, from a time on. A record's
-- row stays, emptied, for as long as the event of the purge, and begins a new life; a row that was emptied long enough
-- ago goes.
WITH clock AS MATERIALIZED (
    SELECT {clock} AS now
), due AS MATERIALIZED (
    -- The time is a bound of the index: nothing is read that is not due.
    SELECT r.kind, r.key, r.life, r.state, r.token, r.rev, r.last_now, r.purge_at, {record_of_r} AS record
    FROM {records} r
    WHERE r.namespace = $2::text AND r.purge_at >= $4::int8 AND r.purge_at <= (SELECT now FROM clock)
      AND r.state IN ('free', 'completed', 'purged')
    ORDER BY r.purge_at LIMIT $3::int8
    FOR UPDATE OF r SKIP LOCKED
), page AS MATERIALIZED (
    SELECT p.*, greatest(clock.now, p.last_now) AS now, greatest(clock.now, p.last_now, p.token) + 1 AS next_life
    FROM due p CROSS JOIN clock
), floor AS (
    INSERT INTO {floors} AS f (namespace, token)
    SELECT $2, max(token) FROM page WHERE state <> 'purged' HAVING count(*) > 0
    ON CONFLICT (namespace) DO UPDATE SET token = greatest(f.token, excluded.token)
), deleted_event AS (
    DELETE FROM {events} e USING page p WHERE e.record = p.record
), inserted_event AS (
    INSERT INTO {events} (record, seq, rev, at, token, before, change)
    SELECT {record_of_next}, 1, p.rev + 1, p.now, p.token, p.state, 'purged' FROM page p WHERE p.state <> 'purged'
), emptied_record AS (
    UPDATE {records} r
    SET {emptied}, cause = NULL, about = NULL,
        life = p.next_life, last_event = 1, purge_at = p.now + {rest}, token = 0, rev = 0, implied = 0,
        last_now = 0, incarnation = 0, after_reset = false, past_claims = NULL, decision_op_id = NULL,
        decision_kind = NULL, decision_token = NULL, decision_presented = NULL, decision_at = NULL,
        decision_digest = NULL, decision_operator = NULL, decision_reason = NULL
    FROM page p
    WHERE r.namespace = $2 AND r.kind = p.kind AND r.key = p.key AND p.state <> 'purged'
    RETURNING 1
), deleted_record AS (
    DELETE FROM {records} r USING page p
    WHERE r.namespace = $2 AND r.kind = p.kind AND r.key = p.key AND p.state = 'purged'
    RETURNING 1
)
SELECT e.count, e.count + g.count, (SELECT max(purge_at) FROM page)
FROM (SELECT count(*) FROM emptied_record) e CROSS JOIN (SELECT count(*) FROM deleted_record) g
