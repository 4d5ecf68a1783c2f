-- Drops the events before one, and gives that one the base that they rebuild. Events never change, so no lock is
-- held between reading them and this; a record that was purged meanwhile has another name.
WITH based AS (
    UPDATE {events} SET base = $3::text WHERE record = $1::uuid AND seq = $2::int8
    RETURNING 1
), deleted_event AS (
    DELETE FROM {events} WHERE record = $1 AND seq < $2 AND EXISTS (SELECT FROM based)
)
SELECT count(*) FROM based
