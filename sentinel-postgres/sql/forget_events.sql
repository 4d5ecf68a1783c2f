-- Deletes events of earlier grants that are older than so many microseconds: what led to a record's present grant stays.
-- It reads so many blocks of the table from a block on, and tells whether there are more: a pass reads each block once.
WITH clock AS MATERIALIZED (
    SELECT {clock} AS now
), old AS MATERIALIZED (
    SELECT e.record, e.seq FROM {events} e CROSS JOIN clock
    WHERE e.ctid >= format('(%s,0)', $2::int8)::tid AND e.ctid < format('(%s,0)', $2 + $4::int8)::tid
      AND e.at < clock.now - $3::int8 AND e.change <> 'purged'
      AND e.seq < (SELECT max(g.seq) FROM {events} g WHERE g.record = e.record AND g.change = 'claimed')
), gone AS (
    DELETE FROM {events} e USING old o WHERE e.record = o.record AND e.seq = o.seq
)
SELECT pg_relation_size('{events}') / current_setting('block_size')::int8 > $2 + $4
