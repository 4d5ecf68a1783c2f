//! An event as JSON. The field names are part of the program's contract.

use sentinel_core::{Change, Event, State};
use serde::Serialize;

use super::CauseView;
use crate::time::rfc3339;

/// One event of a record. Times are RFC 3339 UTC with microseconds. It has no claim id: that is half of a grant.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are the event's")]
pub struct EventView {
    pub rev: u64,
    pub event: &'static str,
    pub from: &'static str,
    pub to: &'static str,
    pub token: u64,
    pub worker: Option<String>,
    pub operator: Option<String>,
    pub reason: Option<String>,
    pub at: String,
    /// What a claim was about; null for other events.
    pub about: Option<String>,
    /// Why a claim was made; null for other events.
    pub cause: Option<CauseView>,
}

impl From<&Event> for EventView {
    fn from(event: &Event) -> Self {
        let state = |state: Option<State>| state.map_or("absent", State::as_str);
        let (about, cause) = match &event.change {
            Change::Claimed { about, cause, .. } => (about.as_ref(), cause.as_ref()),
            _ => (None, None),
        };
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
            about: about.map(ToString::to_string),
            cause: cause.map(CauseView::from),
        }
    }
}
