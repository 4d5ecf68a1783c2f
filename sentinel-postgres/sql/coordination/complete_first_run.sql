-- kernel::table::complete, for the first run of an address, as nearly every run is. Without a reply nothing was
-- changed: it was another run, or a repetition.
UPDATE {records} r
SET state = 'completed', completed_at = at.now, verdict = $6::text::{verdict}, code = $7::int4, omitted = $8::bool,
    content_type = $9::text, payload = $10::bytea, rev = r.rev + 1, last_now = at.now, last_event = 2, implied = 2,
    purge_at = {completed_purge_at}
FROM (
    -- The one reading: above the lock.
    SELECT l.place, l.retention, greatest({clock}, l.last_now) AS now
    FROM (
        SELECT ctid AS place, last_now, retention FROM {records}
        WHERE namespace = $2::text AND kind = 'execution' AND key = $3::text
          AND state = 'executing' AND token = $4::int8 AND claim_id = $5::uuid AND implied = 1
        FOR NO KEY UPDATE
    ) l
) h CROSS JOIN LATERAL (SELECT h.now) at
-- By its place: a row that changed between this statement's start and the lock is not found by it.
WHERE r.ctid = h.place
RETURNING r.rev, r.last_now, r.last_now >= r.lease_until
