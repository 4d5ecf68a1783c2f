//! Spans, events and metrics. Namespace and token are fields; keys only where a client asked for them.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use super::Core;
use crate::address::Address;
use crate::error::StoreError;
use crate::operation::*;

/// The word for a reply, in logs and as a metric's label.
pub(crate) trait Named {
    fn word(&self) -> &'static str;
}

macro_rules! named {
    ($($reply:ident { $($pattern:pat => $word:literal,)* })*) => {$(
        impl Named for $reply {
            fn word(&self) -> &'static str {
                use $reply::*;
                match self { $($pattern => $word,)* }
            }
        }
    )*};
}

named! {
    ClaimReply {
        Granted(_) => "granted", AlreadyReleased => "already_released", InProgress { .. } => "in_progress",
        Uncertain { .. } => "uncertain", Completed { .. } => "completed", Reconciling { .. } => "reconciling",
        FingerprintMismatch => "fingerprint_mismatch",
    }
    BeginReply {
        Begun(_) => "begun", Superseded(_) => "superseded", Expired => "expired", Completed => "completed",
    }
    HeartbeatReply { Kept { .. } => "kept", Lost(_) => "lost", Unknown => "unknown", }
    CompleteReply {
        Recorded { late: false } => "recorded", Recorded { late: true } => "recorded_late",
        Conflict => "conflict", NotBegun => "not_begun", Superseded(_) => "superseded",
    }
    CancelReply { Cancelled => "cancelled", Untouched(_) => "untouched", }
    ReleaseReply { Released => "released", MayHaveRun => "may_have_run", Superseded(_) => "superseded", }
    AbandonReply { Abandoned => "abandoned", Superseded(_) => "superseded", }
    ReconcileReply {
        Taken { .. } => "taken", StaleDecision(_) => "stale_decision", HeldBy { .. } => "held_by",
        StillAlive { .. } => "still_alive", AlreadyCompleted => "already_completed",
        NotExecuting(_) => "not_executing",
    }
    ForceCompleteReply { Completed => "completed", StaleDecision(_) => "stale_decision", }
    ResetReply {
        Reset { .. } => "reset", StaleDecision(_) => "stale_decision",
        HardDeadlineNotReached { .. } => "hard_deadline_not_reached",
    }
    EvictReply {
        Evicted { .. } => "evicted", StaleDecision(_) => "stale_decision", Executing => "executing",
        NotClaimed(_) => "not_claimed",
    }
}

impl Core {
    /// The key, where it may be told.
    pub(crate) fn shown<'a>(&self, address: &'a Address) -> &'a str {
        if self.show_keys { address.key.as_str() } else { "-" }
    }

    /// One answered request.
    pub(crate) fn answered<R: Named>(
        &self,
        operation: &'static str,
        address: &Address,
        stamped: &Stamped<R>,
        took: Duration,
    ) {
        let (reply, stamp) = (stamped.reply.word(), &stamped.stamp);
        counter!("sentinel_transitions_total", "operation" => operation, "reply" => reply).increment(1);
        histogram!("sentinel_operation_seconds", "operation" => operation).record(took);
        tracing::debug!(
            operation,
            reply,
            namespace = address.namespace.as_str(),
            key = self.shown(address),
            token = stamp.token.get(),
            rev = stamp.rev,
            state = stamp.state.as_str(),
            changed = stamp.changed,
            "answered"
        );
    }

    /// One request that the store did not answer.
    pub(crate) fn unanswered(&self, operation: &'static str, address: &Address, error: &StoreError) {
        counter!("sentinel_store_errors_total", "operation" => operation).increment(1);
        let (namespace, key) = (address.namespace.as_str(), self.shown(address));
        tracing::warn!(operation, namespace, key, %error, "the store did not answer");
    }

    /// The end of a call.
    pub(crate) fn ended(&self, outcome: &'static str) {
        counter!("sentinel_outcomes_total", "outcome" => outcome).increment(1);
    }
}

/// A heartbeat that was not answered, or did not look.
pub(crate) fn heartbeat_failed(beats: usize) {
    counter!("sentinel_heartbeat_failures_total").increment(beats as u64);
}

/// A worker lost its authority.
pub(crate) fn lapsed(why: &'static str) {
    counter!("sentinel_lapses_total", "why" => why).increment(1);
}

/// How long the oldest uncertain key of a namespace has been in doubt; zero: none is.
pub(crate) fn oldest_uncertain(namespace: &str, age: Duration) {
    gauge!("sentinel_oldest_uncertain_seconds", "namespace" => namespace.to_owned()).set(age);
}
