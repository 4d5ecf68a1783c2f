SELECT 1, 1, h.claimed_at, h.token, NULL::{state},
    CASE WHEN h.begun_at IS NULL THEN 'claimed' ELSE 'executing' END::{state},
    'claimed'::{change}, h.claim_id, h.worker, h.ttl, h.hard_ttl, h.retention, h.fingerprint, h.incarnation,
    h.begun_at IS NOT NULL, NULL::{verdict}, NULL::int4, h.late_effects, h.accepts,
    h.cause, h.about
WHERE h.implied > 0
UNION ALL
SELECT 2, h.rev, h.completed_at, h.token, 'executing', 'completed', 'completed', h.claim_id, h.worker,
    NULL, NULL, NULL, NULL, NULL, h.last_now >= h.lease_until, h.verdict::{verdict}, h.code,
    NULL, NULL, NULL, NULL
WHERE h.implied > 1
