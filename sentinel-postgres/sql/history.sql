-- The newest events of a record: those that its row tells itself, and those that it does not.
SELECT e.rev, e.at, e.token, e.before::text, e.after::text, e.claim_id, e.op_id, e.worker, e.operator, e.reason,
    e.change::text, e.ttl, e.hard_ttl, e.retention, e.fingerprint, e.incarnation, e.flag, e.verdict::text, e.code,
    e.digest
FROM {records} h CROSS JOIN LATERAL (
    SELECT {implied_columns}, op_id, operator, reason, digest FROM {events} l WHERE l.record = {record_of_h}
    UNION ALL
    SELECT i.*, NULL::uuid, NULL, NULL, NULL::bytea FROM ({implied}) i
) e
WHERE h.namespace = $1 AND h.kind = $2::text::{kind} AND h.key = $3
ORDER BY e.seq DESC LIMIT $4
