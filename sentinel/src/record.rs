//! What a store keeps: the record of an address, and its events.
//! [`Sentinel::inspect`](crate::Sentinel::inspect), [`list`](crate::Sentinel::list) and
//! [`history`](crate::Sentinel::history) return them.

pub use sentinel_core::store::VisibleState;
pub use sentinel_core::{
    Accepts, Address, By, Cause, CauseQuery, Change, ClaimId, Decision, DecisionKind, Digest, Event,
    EventLimit, Fingerprint, Grant, Kind, Label, OpId, PURGE_REST, PastClaims, Payload, Record,
    RecordedResult, Root, State, Terms, Token, TraceId, Verdict, idempotency_key, idempotency_key_for,
};
