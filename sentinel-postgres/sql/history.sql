SELECT e.rev, e.at, e.token, e.before::text, e.after::text, e.claim_id, e.op_id, e.worker, e.operator, e.reason,
    e.change::text, e.ttl, e.hard_ttl, e.retention, e.fingerprint, e.incarnation, e.flag, e.verdict::text, e.code,
    e.digest
FROM {events} e
WHERE e.record = (SELECT r.id FROM {records} r WHERE r.namespace = $1 AND r.kind = $2::text::{kind} AND r.key = $3)
ORDER BY e.seq DESC LIMIT $4
