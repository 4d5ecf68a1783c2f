//! Pieces of SQL that several statements share.

/// What [`Stored::read`] reads, in its order; a statement that needs no events or no payload names something else for
/// them.
macro_rules! columns {
    ($recent:literal, $payload:literal) => {
        concat!(
            "id, life, last_event, dropped, ",
            $recent,
            ", state, rev, token, claim_id, past_claims, incarnation, after_reset, worker, ttl, hard_ttl, ",
            "late_effects, retention, claimed_at, lease_until, hard_until, effects_until, begun_at, completed_at, ",
            "last_now, fingerprint, accepts, doubt, ",
            "decision, cause, about, verdict, code, omitted, content_type, ",
            $payload
        )
    };
}
pub(crate) use columns;

/// How many of the newest records are searched for those that are undecided: an undecided record that is not among them
/// lingers, and is found by an index.
pub(crate) const NEWEST: i64 = 256;

/// The same states as in `is_undecided`. (Not `IN`: SQLite would fill a temporary table with the three words.)
macro_rules! undecided {
    () => {
        "(state = 'claimed' OR state = 'executing' OR state = 'reconciling')"
    };
}
pub(crate) use undecided;
