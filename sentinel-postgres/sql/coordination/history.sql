-- The newest events of a record: those that its row implies, and those that are stored.
SELECT {event_columns}
FROM {records} h CROSS JOIN LATERAL (
    SELECT {implied_columns}, op_id, operator, reason, digest, effects_until, base FROM {events} l
    WHERE l.record = {record_of_h}
    UNION ALL
    SELECT i.*, NULL::uuid, NULL, NULL, NULL::bytea, NULL::int8, NULL FROM ({implied}) i
) e
WHERE h.namespace = $1 AND h.kind = $2::text::{kind} AND h.key = $3
ORDER BY e.seq DESC LIMIT $4
