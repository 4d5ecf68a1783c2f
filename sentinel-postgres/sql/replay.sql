-- Reads any number of results of one namespace, and locks nothing: what a claim of a completed execution is answered with,
-- and no more. What is not in the answer is not completed. As with `look`, the reading comes before the snapshot, and a
-- result is told only once it is as durable as the deployment promises.
WITH found AS MATERIALIZED (
    SELECT r.key, r.rev, r.token, r.last_now, r.completed_at, r.retention, r.fingerprint, r.verdict = 'failure' AS failed,
        r.code, r.omitted, r.content_type, r.payload
    FROM {records} r
    WHERE r.namespace = $2::text AND r.kind = 'execution' AND r.key = ANY ($3::text[]) AND r.state = 'completed'
), barrier AS MATERIALIZED (
    SELECT CASE WHEN current_setting('synchronous_standby_names') <> '' AND EXISTS (SELECT FROM found)
        THEN pg_logical_emit_message(true, 'sentinel', '') IS NOT NULL END AS passed
)
SELECT {clock_before}, barrier.passed, f.*
FROM barrier CROSS JOIN found f
