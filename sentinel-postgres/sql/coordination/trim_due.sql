-- A record's name in the table of events, if it has an event as old as this one: it has more events than it may have.
SELECT d.record
FROM {records} h CROSS JOIN LATERAL (SELECT {record_of_h} AS record) d
WHERE h.namespace = $1 AND h.kind = $2::text::{kind} AND h.key = $3
  AND EXISTS (SELECT FROM {events} e WHERE e.record = d.record AND e.seq <= $4::int8)
