SELECT count(*) FROM (
    SELECT FROM {records} r, (SELECT {clock} AS now) clock
    WHERE r.namespace = $2::text AND r.purge_at <= clock.now AND r.rev > 0
    LIMIT $3::int8
) ripe
