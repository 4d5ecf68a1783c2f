-- Reads any number of records, and locks none. The reading is the statement's start: it comes before the snapshot, so
-- what has lapsed by it had lapsed when the row was read. A result is returned only once it is as durable as the
-- deployment promises: with a synchronous standby, a commit that the standby has not confirmed is passed by waiting for
-- one of ours.
WITH request AS MATERIALIZED (
    SELECT * FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS a (namespace, kind, key, n)
), found AS MATERIALIZED (
    SELECT a.n, r.*
    FROM request a CROSS JOIN LATERAL (
        SELECT {columns} FROM {records} r
        WHERE r.namespace = a.namespace AND r.kind = a.kind::{kind} AND r.key = a.key
        LIMIT 1
    ) r
), barrier AS MATERIALIZED (
    SELECT CASE WHEN current_setting('synchronous_standby_names') <> '' AND $5::bool AND bool_or(f.state = 'completed')
        THEN pg_logical_emit_message(true, 'sentinel', '') IS NOT NULL END AS passed
    FROM found f
)
SELECT {clock_before}, barrier.passed, f.*
FROM barrier LEFT JOIN found f ON true
