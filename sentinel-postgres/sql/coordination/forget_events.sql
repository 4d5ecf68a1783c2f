-- Finds events of earlier grants that are older than this many microseconds: for each record that has some, its name,
-- and the first event that stays. What led to its present grant stays. It reads this many blocks of the table from a
-- block on, and returns whether there are more: a pass reads each block once.
WITH clock AS MATERIALIZED (
    SELECT {clock} AS now
), old AS MATERIALIZED (
    SELECT e.record, max(e.seq) + 1 AS first FROM {events} e CROSS JOIN clock
    WHERE e.ctid >= format('(%s,0)', $2::int8)::tid AND e.ctid < format('(%s,0)', $2 + $4::int8)::tid
      AND e.at < clock.now - $3::int8 AND e.change <> 'purged'
      AND e.seq < (SELECT max(g.seq) FROM {events} g WHERE g.record = e.record AND g.change = 'claimed')
    GROUP BY e.record
)
SELECT greatest(pg_relation_size('{events}'), (SELECT max(pg_relation_size(relid)) FROM pg_partition_tree('{events}')))
        / current_setting('block_size')::int8 > $2 + $4, old.record, old.first
FROM clock LEFT JOIN old ON true
