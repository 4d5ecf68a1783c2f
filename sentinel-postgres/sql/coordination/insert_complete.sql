-- Any number of completions (`completed`, kernel::table::complete), and of claims of addresses that have no row
-- (`granted`, kernel::table::claim), in one statement and one commit. Each address occurs once; both lists are sorted
-- by address. Nothing here waits for a row that another transaction has locked, and all rows are locked before the
-- first is inserted, so that concurrent statements cannot deadlock. What is not in the result was not changed, for any
-- reason: it is sent again on its own.
WITH completion AS MATERIALIZED (
    SELECT * FROM unnest($2::text[], $3::text[], $4::int8[], $5::uuid[], $6::bool[], $7::int4[], $8::bool[], $9::text[],
                         $10::bytea[])
        WITH ORDINALITY AS c (namespace, key, token, claim_id, failed, code, omitted, content_type, payload, n)
), locked_record AS MATERIALIZED (
    SELECT c.n, c.token AS presented, c.claim_id AS presented_by,
        CASE WHEN c.failed THEN 'failure'::{verdict} ELSE 'success' END AS verdict, c.code, c.omitted, c.content_type,
        c.payload, r.*
    FROM completion c CROSS JOIN LATERAL (
        SELECT r.ctid AS place, r.state, r.token, r.claim_id, r.last_now, r.retention, r.implied
        FROM {records} r
        WHERE r.namespace = c.namespace AND r.kind = 'execution' AND r.key = c.key
        FOR NO KEY UPDATE SKIP LOCKED
    ) r
), at AS MATERIALIZED (
    -- The one reading: every lock is held.
    SELECT {clock} AS now FROM (SELECT count(*) FROM locked_record) h
), completed AS (
    UPDATE {records} r
    SET state = 'completed', completed_at = greatest(at.now, h.last_now), verdict = h.verdict, code = h.code,
        omitted = h.omitted, content_type = h.content_type, payload = h.payload,
        rev = r.rev + 1, last_event = r.last_event + 1, implied = CASE WHEN h.implied = 1 THEN 2 ELSE 0 END,
        last_now = greatest(at.now, h.last_now), purge_at = {batch_completed_purge_at}
    FROM locked_record h CROSS JOIN at
    -- By its place: a row that changed between this statement's start and the lock is not found by it, and goes out
    -- alone.
    WHERE r.ctid = h.place
      AND h.state = 'executing' AND h.token = h.presented AND h.claim_id = h.presented_by
    RETURNING h.n, r.namespace, r.kind, r.key, r.life, r.last_event, r.implied, r.rev, r.last_now,
        r.token, r.claim_id, r.worker, r.verdict, r.code,
        r.last_now >= r.lease_until AS late
), claim AS MATERIALIZED (
    SELECT * FROM unnest($11::text[], $12::bool[], $13::text[], $14::uuid[], $15::int8[], $16::int8[], $17::int8[],
                         $18::bytea[], $19::text[], $20::bool[], $21::int8[], $22::text[],
                         $23::text[], $24::text[])
        WITH ORDINALITY AS c (namespace, lease, key, claim_id, ttl, hard_ttl, retention, fingerprint, worker, begun,
                              late_effects, accepts, cause, about, n)
), floor AS MATERIALIZED (
    SELECT f.namespace, f.token FROM {floors} f WHERE f.namespace = ANY ($11)
), granted AS (
    INSERT INTO {records} (life, last_event, implied, token, rev, last_now, lease_until, hard_until,
        effects_until, incarnation, claimed_at, begun_at, ttl, hard_ttl, late_effects, retention, claim_id,
        kind, state, after_reset, namespace, key, worker, fingerprint, accepts, cause, about)
    SELECT d.token, 1, 1, d.token, 1, at.now, at.now + c.ttl, at.now + c.hard_ttl,
        at.now + c.hard_ttl + c.late_effects, d.token, at.now,
        CASE WHEN c.begun THEN at.now END, c.ttl, c.hard_ttl, c.late_effects, c.retention, c.claim_id,
        CASE WHEN c.lease THEN 'lease'::{kind} ELSE 'execution' END,
        CASE WHEN c.begun THEN 'executing'::{state} ELSE 'claimed' END, false, c.namespace, c.key, c.worker,
        c.fingerprint, c.accepts, c.cause, c.about
    FROM claim c CROSS JOIN at CROSS JOIN LATERAL (
        SELECT greatest(at.now, (SELECT f.token FROM floor f WHERE f.namespace = c.namespace)) + 1 AS token OFFSET 0
    ) d
    WHERE NOT EXISTS (
        SELECT FROM {records} r
        WHERE r.namespace = c.namespace AND r.key = c.key
          AND r.kind = CASE WHEN c.lease THEN 'lease'::{kind} ELSE 'execution' END)
    ORDER BY c.n
    ON CONFLICT DO NOTHING
    RETURNING token, rev, last_now, claim_id
), inserted_event AS (
    -- Of a run that was not the address' first.
    INSERT INTO {events} (record, seq, rev, at, token, before, after, change, verdict, code, flag, claim_id, worker)
    SELECT {record_of_c}, c.last_event, c.rev, c.last_now, c.token, 'executing', 'completed', 'completed',
        c.verdict, c.code, c.late, c.claim_id, c.worker
    FROM completed c
    WHERE c.implied = 0
)
SELECT c.n, NULL::uuid, c.token, c.last_now, c.rev, c.late, c.last_event FROM completed c
UNION ALL
SELECT NULL, g.claim_id, g.token, g.last_now, g.rev, NULL, NULL FROM granted g
