-- Any number of leases. A row that another transaction has locked is passed over, not waited for: its heartbeat is sent
-- again on its own.
WITH beat AS MATERIALIZED (
    SELECT * FROM unnest($2::text[], $3::text[], $4::text[], $5::int8[], $6::uuid[])
        WITH ORDINALITY AS b (namespace, kind, key, token, claim_id, n)
), locked_record AS MATERIALIZED (
    SELECT b.n, b.token AS presented, b.claim_id AS presented_by, r.*
    FROM beat b CROSS JOIN LATERAL (
        SELECT r.ctid AS place, life, namespace, kind, key,
            CASE state WHEN 'purged' THEN 'free' ELSE state END AS state, token, claim_id, rev, last_now,
            lease_until, hard_until, ttl, hard_ttl, late_effects, doubt
        FROM {records} r
        WHERE r.namespace = b.namespace AND r.kind = b.kind::{kind} AND r.key = b.key
        FOR NO KEY UPDATE {skip}
    ) r
), at AS MATERIALIZED (
    SELECT {clock} AS now, {durability} AS durability FROM (SELECT count(*) FROM locked_record) h
), updated_record AS (
    UPDATE {records} r
    SET lease_until = least(greatest(at.now, h.last_now) + h.ttl, h.hard_until), rev = h.rev + 1,
        last_now = greatest(at.now, h.last_now)
    FROM locked_record h CROSS JOIN at
    WHERE {found}
      AND h.token = h.presented AND h.claim_id = h.presented_by AND h.state IN ('claimed', 'executing')
      -- kernel::table::heartbeat: HardDeadline, and Abandoned, which has ended the hard deadline too; Lapsed.
      AND greatest(at.now, h.last_now) < h.hard_until AND h.doubt IS NULL
      AND (h.kind = 'execution' OR greatest(at.now, h.last_now) < h.lease_until)
      AND least(greatest(at.now, h.last_now) + h.ttl, h.hard_until) > h.lease_until
    RETURNING h.n, r.*
)
SELECT at.durability, c.n, true, c.last_now, c.state::text, c.token, c.claim_id, c.rev, c.last_now, c.lease_until,
    c.hard_until, c.ttl, c.hard_ttl, c.late_effects, false
FROM updated_record c CROSS JOIN at
UNION ALL
SELECT at.durability, h.n, false, at.now, h.state::text, h.token, h.claim_id, h.rev, h.last_now, h.lease_until,
    h.hard_until, h.ttl, h.hard_ttl, h.late_effects, h.doubt IS NOT NULL
FROM at LEFT JOIN locked_record h ON true
WHERE h.n IS NULL OR h.n NOT IN (SELECT c.n FROM updated_record c)
