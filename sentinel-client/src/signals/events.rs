//! The table of all log events, and the functions that write them.

use std::sync::{Mutex, PoisonError};

use sentinel_core::operation::Current;
use sentinel_core::{Address, ErrorKind, Label, OpId, StoreError, Token};
use tracing::{Level, Span};

use crate::authority::Lost;
use crate::outcome::{Error, NotStored};

/// The target of every event in [`EVENTS`], for the filter of a subscriber.
pub const EVENTS_TARGET: &str = "sentinel";

/// A log event: one row of [`EVENTS`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct LogEvent {
    /// The value of its field `event`.
    pub name: &'static str,
    /// Its level.
    pub level: Level,
    /// Its other fields. A field `key` comes on top if the client traces keys.
    pub fields: &'static [&'static str],
    /// What it reports, in one sentence.
    pub help: &'static str,
}

const fn row(
    name: &'static str,
    level: Level,
    fields: &'static [&'static str],
    help: &'static str,
) -> LogEvent {
    LogEvent { name, level, fields, help }
}

/// All log events of level `info` and above. Waits, repeated requests and batches are reported at `debug`.
///
/// No event has a payload. Keys appear only if the client traces them
/// ([`trace_keys`](crate::Sentinel::trace_keys)).
pub const EVENTS: &[LogEvent] = &[
    row(
        "data_loss",
        Level::ERROR,
        &["store", "kind"],
        "The store has lost data, or may have lost its newest writes.",
    ),
    row(
        "time_line_changed",
        Level::ERROR,
        &["before", "now"],
        "PostgreSQL failed over. Unless the standby was synchronous, acknowledged writes may be lost.",
    ),
    row(
        "record_unreadable",
        Level::ERROR,
        &["store", "kind"],
        "A stored record cannot be read, or disagrees with its events.",
    ),
    row(
        "heartbeats_restarted",
        Level::ERROR,
        &[],
        "The task that sends heartbeats panicked and started again.",
    ),
    row(
        "heartbeats_broken",
        Level::ERROR,
        &["beats", "replies"],
        "The store broke its contract: a batch of heartbeats got too few replies.",
    ),
    row(
        "ran_uncertain",
        Level::WARN,
        &["namespace", "token", "cause"],
        "A function ran, and its outcome is unknown. Reconcile the key.",
    ),
    row(
        "unconfirmed",
        Level::WARN,
        &["namespace", "token"],
        "A function ran, and the store has not confirmed its result. The client sends it again.",
    ),
    row(
        "superseded",
        Level::WARN,
        &["namespace", "token", "current_state", "current_token"],
        "A function ran, and another worker or an operator had changed the record before. The record counts.",
    ),
    row(
        "lease_lost",
        Level::WARN,
        &["namespace", "token", "why"],
        "A lease was lost before it was released.",
    ),
    row(
        "contact_lost",
        Level::WARN,
        &["namespace", "token"],
        "No heartbeat kept a run alive until the end of its ttl. The function goes on; others see it as uncertain.",
    ),
    row(
        "result_not_stored",
        Level::WARN,
        &["namespace", "token", "why", "bytes"],
        "An execution is completed without its result.",
    ),
    row(
        "report_given_up",
        Level::WARN,
        &["namespace", "work"],
        "The client stopped sending a report that the store did not confirm.",
    ),
    row("reconciler_failed", Level::WARN, &["namespace", "kind"], "A pass over uncertain keys ended early."),
    row(
        "survey_failed",
        Level::WARN,
        &["store", "kind"],
        "A survey failed: the gauges keep their last values.",
    ),
    row(
        "taken_over",
        Level::INFO,
        &["namespace", "token", "operator", "op"],
        "An operator or a reconciler took a key to decide about it.",
    ),
    row(
        "decided_by_code",
        Level::INFO,
        &["namespace", "token", "finding", "evidence"],
        "A reconciler decided about a key.",
    ),
    row(
        "decided_by_operator",
        Level::INFO,
        &["namespace", "token", "operator", "op", "verdict"],
        "An operator decided about a key, or evicted its holder.",
    ),
    row(
        "drained",
        Level::INFO,
        &["left"],
        "A client was drained; `left` is the number of pieces of unfinished work.",
    ),
];

/// Where an event belongs: its namespace and token, its key if keys are traced, and the span of its call.
pub(crate) struct Origin<'a> {
    pub(crate) address: &'a Address,
    pub(crate) token: Token,
    pub(crate) show_keys: bool,
    pub(crate) span: &'a Span,
}

/// Writes an event that has an origin.
macro_rules! event_of {
    ($level:ident, $origin:expr, $event:literal, $message:literal $(, $field:ident = $value:expr)*) => {{
        let origin: &Origin<'_> = $origin;
        tracing::event!(
            target: "sentinel",
            parent: origin.span,
            Level::$level,
            event = $event,
            namespace = origin.address.namespace.as_str(),
            key = origin.key(),
            token = origin.token.get(),
            $($field = $value,)*
            $message
        );
    }};
}

impl Origin<'_> {
    fn key(&self) -> Option<&str> {
        self.show_keys.then(|| self.address.key.as_str())
    }

    pub(crate) fn ran_uncertain(&self, cause: &Label) {
        let cause = cause.as_str();
        event_of!(WARN, self, "ran_uncertain", "this call ran, and its outcome is unknown", cause = cause);
    }

    pub(crate) fn unconfirmed(&self) {
        event_of!(WARN, self, "unconfirmed", "this call ran, and the store has not confirmed its result");
    }

    pub(crate) fn superseded(&self, current: Current) {
        let (state, token) = (current.state.as_str(), current.token.get());
        event_of!(
            WARN,
            self,
            "superseded",
            "this call ran, and the record had been changed before",
            current_state = state,
            current_token = token
        );
    }

    pub(crate) fn lease_lost(&self, why: Lost) {
        event_of!(WARN, self, "lease_lost", "the lease is lost", why = why.word());
    }

    pub(crate) fn contact_lost(&self) {
        event_of!(
            WARN,
            self,
            "contact_lost",
            "no heartbeat was answered until the end of the ttl: others see this key as uncertain"
        );
    }

    pub(crate) fn result_not_stored(&self, why: &NotStored) {
        let bytes = match why {
            NotStored::TooLarge { bytes, .. } => Some(*bytes),
            _ => None,
        };
        let why = match why {
            NotStored::NotEncodable(_) => "not_encodable",
            NotStored::TooLarge { .. } => "too_large",
            NotStored::Unfaithful(_) => "unfaithful",
            NotStored::Refused(_) => "refused",
        };
        event_of!(
            WARN,
            self,
            "result_not_stored",
            "the execution is completed without its result",
            why = why,
            bytes = bytes
        );
    }

    pub(crate) fn taken_over(&self, operator: &Label, op: OpId) {
        let operator = operator.as_str();
        event_of!(
            INFO,
            self,
            "taken_over",
            "the key was taken for a decision",
            operator = operator,
            op = tracing::field::display(op)
        );
    }

    pub(crate) fn decided_by_code(&self, finding: &str, evidence: Option<&Label>) {
        event_of!(
            INFO,
            self,
            "decided_by_code",
            "a reconciler decided about the key",
            finding = finding,
            evidence = evidence.map(Label::as_str)
        );
    }

    pub(crate) fn decided_by_operator(&self, operator: &Label, op: OpId, verdict: &str) {
        let operator = operator.as_str();
        event_of!(
            INFO,
            self,
            "decided_by_operator",
            "an operator decided about the key",
            operator = operator,
            op = tracing::field::display(op),
            verdict = verdict
        );
    }

    /// What happened in a call, as events of its span.
    pub(crate) fn step(&self, step: &'static str) {
        event_of!(DEBUG, self, "step", "the call went on", step = step);
    }
}

fn store_is_unsound(store: &str, error: &StoreError) {
    let kind = tracing::field::debug(error.kind());
    match error.kind() {
        ErrorKind::DataLoss | ErrorKind::PossibleDataLoss => tracing::error!(
            target: "sentinel",
            event = "data_loss",
            store,
            kind,
            advice = error.kind().advice(),
            "the store has lost data, or may have"
        ),
        _ => tracing::error!(
            target: "sentinel",
            event = "record_unreadable",
            store,
            kind,
            advice = error.kind().advice(),
            "a stored record cannot be read, or disagrees with its events"
        ),
    }
}

/// What was last reported as wrong with a store's data. Each finding is reported once.
#[derive(Debug, Default)]
pub(crate) struct Unsound(Mutex<Option<String>>);

impl Unsound {
    pub(crate) fn report(&self, store: &str, error: &StoreError) {
        if !is_unsound(error.kind()) {
            return;
        }
        let text = error.to_string();
        let mut reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.as_ref() != Some(&text) {
            *reported = Some(text);
            drop(reported);
            store_is_unsound(store, error);
        }
    }
}

/// Whether an error is about lost data or a record that cannot be read.
pub(crate) fn is_unsound(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::DataLoss | ErrorKind::PossibleDataLoss | ErrorKind::Corrupt | ErrorKind::BrokenStore
    )
}

/// Reports a result that a transaction of the user completes without its bytes.
#[doc(hidden)]
pub fn report_result_not_stored(address: &Address, token: Token, why: &NotStored) {
    Origin { address, token, show_keys: false, span: &Span::current() }.result_not_stored(why);
}

pub(crate) fn heartbeats_restarted() {
    tracing::error!(
        target: "sentinel",
        event = "heartbeats_restarted",
        "the task that sends heartbeats panicked and starts again"
    );
}

pub(crate) fn heartbeats_broken(beats: usize, replies: usize) {
    tracing::error!(
        target: "sentinel",
        event = "heartbeats_broken",
        beats,
        replies,
        "the store violated its contract: a batch of heartbeats got too few replies"
    );
}

pub(crate) fn report_given_up(address: &Address, work: &str) {
    tracing::warn!(
        target: "sentinel",
        event = "report_given_up",
        namespace = address.namespace.as_str(),
        work,
        "the client stopped sending a report that the store did not confirm"
    );
}

pub(crate) fn reconciler_failed(namespace: &str, error: &Error) {
    let kind = match error {
        Error::Store(error) => tracing::field::debug(error.kind()),
        _ => tracing::field::debug(ErrorKind::InvalidRequest),
    };
    tracing::warn!(
        target: "sentinel",
        event = "reconciler_failed",
        namespace,
        kind,
        "a pass over uncertain keys ended early"
    );
    // The text may name a key.
    tracing::debug!(target: "sentinel", namespace, %error, "a pass over uncertain keys ended early");
}

pub(crate) fn survey_failed(store: &str, error: &StoreError) {
    tracing::warn!(
        target: "sentinel",
        event = "survey_failed",
        store,
        kind = ?error.kind(),
        "a survey failed: its gauges keep their last values"
    );
    tracing::debug!(target: "sentinel", store, %error, "a survey failed");
}

pub(crate) fn drained(left: usize) {
    tracing::info!(target: "sentinel", event = "drained", left, "the client was drained");
}
