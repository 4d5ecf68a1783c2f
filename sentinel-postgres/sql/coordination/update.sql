-- Any number of begins, releases, and claims (kernel::table::begin, release, claim) of addresses that have a row, in
-- one statement and one commit. Each address occurs once. No row that another transaction has locked is waited for.
-- What is not in the result was not changed, for any reason: it is sent again on its own.
WITH request AS MATERIALIZED (
    SELECT * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::int8[], $7::uuid[], $8::int8[], $9::int8[],
                         $10::int8[], $11::bytea[], $12::text[], $13::bool[], $14::int8[],
                         $15::text[], $16::text[], $17::text[])
        WITH ORDINALITY AS a (operation, namespace, kind, key, presented, presented_by, new_ttl, new_hard_ttl,
                              new_retention, new_fingerprint, new_worker, flag, new_late_effects, new_accepts,
                              new_cause, new_about, n)
), locked_record AS MATERIALIZED (
    SELECT a.*, r.*
    FROM request a CROSS JOIN LATERAL (
        SELECT r.ctid AS place, r.life, CASE r.state WHEN 'purged' THEN 'free' ELSE r.state END AS state,
            r.rev, r.token, r.claim_id, r.past_claims, r.incarnation, r.after_reset, r.worker, r.ttl, r.hard_ttl,
            r.late_effects, r.retention, r.fingerprint, r.accepts, r.cause, r.about, r.doubt, r.claimed_at, r.begun_at,
            r.completed_at, r.lease_until, r.hard_until, r.last_now, r.verdict, r.code, r.implied
        FROM {records} r
        WHERE r.namespace = a.namespace AND r.kind = a.kind::{kind} AND r.key = a.key
        FOR NO KEY UPDATE SKIP LOCKED
    ) r
), reading AS MATERIALIZED (
    -- The one reading: every lock is held.
    SELECT {clock} AS now FROM (SELECT count(*) FROM locked_record) h
), ready AS MATERIALIZED (
    SELECT h.*, greatest(reading.now, h.last_now) AS now,
        coalesce((SELECT f.token FROM {floors} f WHERE f.namespace = h.namespace), 0) AS floor
    FROM locked_record h CROSS JOIN reading
), begun AS (
    UPDATE {records} r
    SET state = 'executing', begun_at = at.now, {touched}
    FROM ready h CROSS JOIN LATERAL (SELECT h.now, h.floor) at
    WHERE r.ctid = h.place AND h.operation = 'begin'
      AND h.state = 'claimed' AND h.token = h.presented AND h.claim_id = h.presented_by
      AND at.now < h.lease_until AND at.now < h.hard_until
    RETURNING {updated}
), released AS (
    UPDATE {records} r
    SET {freed}, past_claims = {remembered},
        incarnation = CASE WHEN h.state = 'executing' THEN 0 ELSE h.incarnation END,
        after_reset = h.after_reset AND h.state <> 'executing',
        {touched},
        purge_at = CASE WHEN h.after_reset AND h.state <> 'executing' THEN NULL ELSE at.now + {rest} END
    FROM ready h CROSS JOIN LATERAL (SELECT h.now, h.floor) at
    WHERE r.ctid = h.place AND h.operation = 'release'
      -- kernel::table::release: an abandoned run (a cause of doubt) is MayHaveRun.
      AND (h.state = 'claimed' OR h.state = 'executing' AND h.flag AND h.doubt IS NULL)
      AND h.token = h.presented AND h.claim_id = h.presented_by
    RETURNING {updated}
), claimed AS (
    UPDATE {records} r
    SET state = CASE WHEN h.flag THEN 'executing' ELSE 'claimed' END::{state},
        token = {next},
        incarnation = CASE WHEN h.incarnation = 0 OR h.state = 'completed' THEN {next} ELSE h.incarnation END,
        after_reset = h.after_reset AND NOT (h.incarnation = 0 OR h.state = 'completed'),
        claim_id = h.presented_by, past_claims = {remembered}, worker = h.new_worker,
        ttl = h.new_ttl, hard_ttl = h.new_hard_ttl, late_effects = h.new_late_effects, retention = h.new_retention,
        fingerprint = h.new_fingerprint, accepts = h.new_accepts, cause = h.new_cause, about = h.new_about,
        claimed_at = at.now, begun_at = CASE WHEN h.flag THEN at.now END, completed_at = NULL,
        lease_until = at.now + h.new_ttl, hard_until = at.now + h.new_hard_ttl,
        effects_until = at.now + h.new_hard_ttl + h.new_late_effects,
        verdict = NULL, code = NULL, omitted = NULL, content_type = NULL, payload = NULL, doubt = NULL,
        {touched}, purge_at = NULL
    FROM ready h CROSS JOIN LATERAL (SELECT h.now, h.floor) at
    WHERE r.ctid = h.place AND h.operation = 'claim'
      AND {claimable}
      AND h.claim_id IS DISTINCT FROM h.presented_by
      AND NOT h.presented_by = ANY (coalesce(h.past_claims, '{}'))
    RETURNING {updated}
), updated AS (
    SELECT * FROM begun UNION ALL SELECT * FROM released UNION ALL SELECT * FROM claimed
), inserted_implied_events AS (
    INSERT INTO {events} (record, {implied_columns})
    SELECT {record_of_c}, e.* FROM updated c JOIN locked_record h ON h.place = c.place CROSS JOIN LATERAL ({implied}) e
), inserted_event AS (
    INSERT INTO {events} (record, seq, rev, at, token, before, after, change, claim_id, worker, flag, ttl, hard_ttl,
        retention, fingerprint, incarnation, late_effects, accepts, cause, about)
    SELECT {record_of_c}, c.last_event, c.rev, c.last_now, c.token, CASE WHEN c.rev > 1 THEN c.before END, c.after,
        CASE c.operation WHEN 'begin' THEN 'begun' WHEN 'release' THEN 'released' ELSE 'claimed' END::{change},
        c.presented_by, c.holder,
        CASE c.operation WHEN 'release' THEN c.before = 'executing' WHEN 'claim' THEN c.flag END,
        c.new_ttl, c.new_hard_ttl, c.new_retention, c.new_fingerprint,
        CASE c.operation WHEN 'claim' THEN c.incarnation END, c.new_late_effects, c.new_accepts, c.new_cause,
        c.new_about
    FROM updated c
)
SELECT c.n, c.rev, c.token, c.last_now, c.after::text, c.incarnation, c.lease_until, c.hard_until, c.last_event
FROM updated c
