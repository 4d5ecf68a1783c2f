-- Deletes events of earlier grants that are older than so many microseconds: what led to a record's present grant stays.
WITH old AS MATERIALIZED (
    SELECT e.record, e.seq FROM {events} e, (SELECT {clock} AS now) clock
    WHERE e.at < clock.now - $3::int8 AND e.change <> 'purged'
      AND e.seq < (SELECT max(g.seq) FROM {events} g WHERE g.record = e.record AND g.change = 'claimed')
    LIMIT $2::int8
), gone AS (
    DELETE FROM {events} e USING old o WHERE e.record = o.record AND e.seq = o.seq
    RETURNING 1
)
SELECT count(*) FROM gone
