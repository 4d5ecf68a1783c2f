//! A record as JSON. The field names are part of the program's contract.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sentinel_core::store::VisibleState;
use sentinel_core::{Address, Kind, Record, State, StoreTime, Verdict, idempotency_key};
use serde::Serialize;

use super::CauseView;
use crate::time::rfc3339;

/// A record, or its absence. Fields that do not apply are null. Times are RFC 3339 UTC with microseconds. It has no
/// claim id: that is half of a grant.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are the record's")]
pub struct RecordView {
    pub namespace: String,
    pub kind: &'static str,
    pub key: String,
    /// The idempotency key of the current attempt, by which a provider knows its request.
    pub idempotency_key: Option<String>,
    pub state: &'static str,
    pub live: bool,
    pub token: Option<u64>,
    pub rev: Option<u64>,
    pub worker: Option<String>,
    pub claimed_at: Option<String>,
    pub begun_at: Option<String>,
    pub lease_until: Option<String>,
    pub hard_until: Option<String>,
    /// Not among the fields of the JSON, which are a contract.
    #[serde(skip)]
    pub effects_until: Option<String>,
    pub completed_at: Option<String>,
    pub outcome: Option<&'static str>,
    pub exit_code: Option<i32>,
    pub content_type: Option<String>,
    /// The payload, if it is text.
    pub payload: Option<String>,
    /// The payload, if it is not.
    pub payload_base64: Option<String>,
    pub fingerprint: Option<String>,
    pub doubt: Option<String>,
    pub decided_by: Option<String>,
    pub store_now: String,
    /// What the last claim was about.
    pub about: Option<String>,
    /// Why the last claim was made.
    pub cause: Option<CauseView>,
}

impl RecordView {
    /// The view of an address at a reading. `payload`: with the bytes of the result.
    pub fn new(address: &Address, record: Option<&Record>, now: StoreTime, payload: bool) -> Self {
        let absent = Self::absent(address, now);
        let Some(r) = record.filter(|record| !record.is_absent()) else { return absent };
        let leased = matches!(r.state, State::Claimed | State::Executing);
        let deadline = leased || r.state == State::Reconciling;
        let effects = matches!(r.state, State::Executing | State::Reconciling);
        let result = r.result.as_ref();
        let bytes = result.filter(|result| payload && !result.omitted).map(|result| &result.payload.bytes);
        let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
        let is_text = text.is_some();
        Self {
            idempotency_key: current_idempotency_key(address, r),
            state: VisibleState::of(r, now).as_str(),
            live: r.is_live(now),
            token: Some(r.token.get()),
            rev: Some(r.rev),
            worker: r.worker.as_ref().map(ToString::to_string),
            claimed_at: r.claimed_at.map(rfc3339),
            begun_at: r.begun_at.map(rfc3339),
            lease_until: leased.then(|| rfc3339(r.lease_until)),
            hard_until: deadline.then(|| rfc3339(r.hard_until)),
            effects_until: effects.then(|| rfc3339(r.effects_until)),
            completed_at: r.completed_at.map(rfc3339),
            outcome: result.map(|result| result.verdict.as_str()),
            // A success is replayed with 0, whatever recorded it.
            exit_code: result.and_then(|r| r.code.or((r.verdict == Verdict::Success).then_some(0))),
            content_type: result
                .filter(|result| !result.omitted)
                .map(|result| result.payload.content_type.to_string()),
            payload: text.map(str::to_owned),
            payload_base64: bytes.filter(|_| !is_text).map(|bytes| STANDARD.encode(bytes)),
            fingerprint: r.fingerprint.as_ref().map(ToString::to_string),
            doubt: r.doubt.as_ref().map(ToString::to_string),
            decided_by: decided_by(r),
            about: r.about.as_ref().map(ToString::to_string),
            cause: r.cause.as_ref().map(CauseView::from),
            ..absent
        }
    }

    fn absent(address: &Address, now: StoreTime) -> Self {
        Self {
            namespace: address.namespace.to_string(),
            kind: address.kind.as_str(),
            key: address.key.to_string(),
            idempotency_key: None,
            state: "absent",
            live: false,
            token: None,
            rev: None,
            worker: None,
            claimed_at: None,
            begun_at: None,
            lease_until: None,
            hard_until: None,
            effects_until: None,
            completed_at: None,
            outcome: None,
            exit_code: None,
            content_type: None,
            payload: None,
            payload_base64: None,
            fingerprint: None,
            doubt: None,
            decided_by: None,
            store_now: rfc3339(now),
            about: None,
            cause: None,
        }
    }
}

/// The idempotency key that the record's worker was given, or that the next run after a reset gets. A lease has one for
/// each grant.
fn current_idempotency_key(address: &Address, record: &Record) -> Option<String> {
    match address.kind {
        Kind::Execution => (record.incarnation > 0).then(|| record.idempotency_key(address)),
        Kind::Lease => Some(idempotency_key(address, record.token.get())),
    }
}

/// The operator whose decision brought the record into its state, if there is one. A later grant has a greater token.
fn decided_by(record: &Record) -> Option<String> {
    let decision = record.decision.as_ref().filter(|decision| decision.token == record.token);
    decision.map(|decision| decision.operator.to_string())
}
