locked_record AS MATERIALIZED (
    SELECT {columns} FROM {records}
    WHERE namespace = $2::text AND kind = $3::text::{kind} AND key = $4::text
    FOR NO KEY UPDATE
), at AS MATERIALIZED (
    -- The one reading, taken above the lock: a reading beside it would be older than the wait for it.
    SELECT greatest({clock}, h.last_now) AS now,
        coalesce((SELECT f.token FROM {floors} f WHERE f.namespace = $2), 0) AS floor
    FROM (SELECT max(last_now) AS last_now FROM locked_record) h
)
