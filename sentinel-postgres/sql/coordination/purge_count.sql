SELECT count(*) FROM (
    SELECT FROM {records} r
    WHERE r.namespace = $2::text AND r.purge_at >= $4::int8 AND r.purge_at <= (SELECT {clock}) AND r.state <> 'purged'
    LIMIT $3::int8
) due
