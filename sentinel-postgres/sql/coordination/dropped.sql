-- The events before one, oldest first.
SELECT {event_columns} FROM {events} e WHERE e.record = $1::uuid AND e.seq < $2::int8 ORDER BY e.seq
