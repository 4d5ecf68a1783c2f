-- Deletes the rows, and last events, of records that were purged long enough ago.
WITH ripe AS MATERIALIZED (
    SELECT r.id, r.kind, r.key FROM {records} r, (SELECT {clock} AS now) clock
    WHERE r.namespace = $2::text AND r.purge_at <= clock.now AND r.rev = 0
    ORDER BY r.purge_at, r.id LIMIT $3::int8
    FOR UPDATE OF r SKIP LOCKED
), forgotten AS (
    DELETE FROM {events} e USING ripe p WHERE e.record = p.id
), gone AS (
    DELETE FROM {records} r USING ripe p
    WHERE r.namespace = $2 AND r.kind = p.kind AND r.key = p.key AND r.id = p.id AND r.rev = 0
    RETURNING 1
)
SELECT count(*) FROM gone
