//! Records and events as JSON. The field names are part of the program's contract.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sentinel::record::{Address, Event, Record, State, Verdict};
use sentinel::store::{StoreTime, VisibleState};
use serde::Serialize;

use super::time::rfc3339;

/// A record, or its absence. Fields that do not apply are null.
#[derive(Debug, Serialize)]
pub(crate) struct RecordView {
    pub(crate) namespace: String,
    pub(crate) kind: &'static str,
    pub(crate) key: String,
    pub(crate) state: &'static str,
    pub(crate) live: bool,
    pub(crate) token: Option<u64>,
    pub(crate) rev: Option<u64>,
    pub(crate) worker: Option<String>,
    pub(crate) claimed_at: Option<String>,
    pub(crate) begun_at: Option<String>,
    pub(crate) lease_until: Option<String>,
    pub(crate) hard_until: Option<String>,
    /// The `Debug` output is for people; only the JSON fields are a contract.
    #[serde(skip)]
    pub(crate) effects_until: Option<String>,
    pub(crate) completed_at: Option<String>,
    pub(crate) outcome: Option<&'static str>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) content_type: Option<String>,
    /// The payload, if it is text.
    pub(crate) payload: Option<String>,
    /// The payload, if it is not.
    pub(crate) payload_base64: Option<String>,
    pub(crate) fingerprint: Option<String>,
    pub(crate) doubt: Option<String>,
    pub(crate) decided_by: Option<String>,
    pub(crate) store_now: String,
}

impl RecordView {
    /// The view of an address at a reading. `payload`: with the bytes of the result.
    pub(crate) fn new(address: &Address, record: Option<&Record>, now: StoreTime, payload: bool) -> Self {
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
            ..absent
        }
    }

    fn absent(address: &Address, now: StoreTime) -> Self {
        Self {
            namespace: address.namespace.to_string(),
            kind: address.kind.as_str(),
            key: address.key.to_string(),
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
        }
    }
}

/// The operator whose decision brought the record into its state, if there is one. A later grant has a greater token.
fn decided_by(record: &Record) -> Option<String> {
    let decision = record.decision.as_ref().filter(|decision| decision.token == record.token);
    decision.map(|decision| decision.operator.to_string())
}

/// One event.
#[derive(Debug, Serialize)]
pub(crate) struct EventView {
    pub(crate) rev: u64,
    pub(crate) event: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) token: u64,
    pub(crate) worker: Option<String>,
    pub(crate) operator: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) at: String,
}

impl From<&Event> for EventView {
    fn from(event: &Event) -> Self {
        let state = |state: Option<State>| state.map_or("absent", State::as_str);
        Self {
            rev: event.rev,
            event: event.change.name(),
            from: state(event.from),
            to: state(event.to),
            token: event.token.get(),
            worker: event.worker.as_ref().map(ToString::to_string),
            operator: event.operator.as_ref().map(ToString::to_string),
            reason: event.reason.as_ref().map(ToString::to_string),
            at: rfc3339(event.at),
        }
    }
}
