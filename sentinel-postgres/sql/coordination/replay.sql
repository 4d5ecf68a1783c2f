-- Reads any number of results of one namespace, and locks nothing: what the reply to a claim of a completed execution
-- needs, and no more. What is not in the result is not completed. As with `read`, the reading comes before the
-- snapshot, and a result is returned only once it is as durable as the deployment promises. (One lookup for each key,
-- by LATERAL and LIMIT: a plan for `key = ANY ($3)` that was made while the table was small reads the whole namespace
-- from then on.)
WITH found AS MATERIALIZED (
    SELECT a.n, r.*
    FROM unnest($3::text[]) WITH ORDINALITY AS a (key, n) CROSS JOIN LATERAL (
        SELECT r.rev, r.token, r.last_now, r.completed_at, r.retention, r.fingerprint, r.verdict = 'failure' AS failed,
            r.code, r.omitted, r.content_type, r.payload
        FROM {records} r
        WHERE r.namespace = $2::text AND r.kind = 'execution' AND r.key = a.key AND r.state = 'completed'
        LIMIT 1
    ) r
), barrier AS MATERIALIZED (
    SELECT CASE WHEN current_setting('synchronous_standby_names') <> '' AND EXISTS (SELECT FROM found)
        THEN pg_logical_emit_message(true, 'sentinel', '') IS NOT NULL END AS passed
)
SELECT {clock_before}, barrier.passed, f.*
FROM barrier CROSS JOIN found f
