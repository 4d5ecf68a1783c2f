//! Spans, events and metrics. Namespace and token are fields; keys are, if the client enables `trace_keys`.

use std::time::Duration;

use metrics::{IntoF64, counter, gauge, histogram};
use sentinel_core::operation::*;
use sentinel_core::{Address, StoreError};

use super::Core;
use super::clock::{LocalClock, LocalTime};

/// The names of an operation and its replies, in logs and as labels of metrics. Each counter is used where the names
/// are literals, so that its key is a constant and costs nothing without a recorder.
pub(crate) trait Named {
    const OPERATION: &'static str;
    fn word(&self) -> &'static str;
    fn count(&self);
    fn time(took: Took);
    fn count_error();
}

macro_rules! named {
    ($($reply:ident, $operation:literal { $($pattern:pat => $word:literal,)* })*) => {$(
        impl Named for $reply {
            const OPERATION: &'static str = $operation;

            fn word(&self) -> &'static str {
                use $reply::*;
                match self { $($pattern => $word,)* }
            }

            fn count(&self) {
                use $reply::*;
                match self {
                    $($pattern => {
                        counter!("sentinel_transitions_total", "operation" => $operation, "reply" => $word)
                            .increment(1);
                    })*
                }
            }

            fn time(took: Took) {
                histogram!("sentinel_operation_seconds", "operation" => $operation).record(took);
            }

            fn count_error() {
                counter!("sentinel_store_errors_total", "operation" => $operation).increment(1);
            }
        }
    )*};
}

named! {
    ClaimReply, "claim" {
        Granted(_) => "granted", AlreadyReleased => "already_released", InProgress { .. } => "in_progress",
        Uncertain { .. } => "uncertain", Completed { .. } => "completed", Reconciling { .. } => "reconciling",
        FingerprintMismatch => "fingerprint_mismatch",
    }
    BeginReply, "begin" {
        Begun(_) => "begun", Superseded(_) => "superseded", Expired => "expired", Completed => "completed",
    }
    HeartbeatReply, "heartbeat" { Kept { .. } => "kept", Lost(_) => "lost", Unknown => "unknown", }
    CompleteReply, "complete" {
        Recorded { late: false } => "recorded", Recorded { late: true } => "recorded_late",
        Conflict => "conflict", NotBegun => "not_begun", Superseded(_) => "superseded",
    }
    CancelReply, "cancel" { Cancelled => "cancelled", Untouched(_) => "untouched", }
    ReleaseReply, "release" { Released => "released", MayHaveRun => "may_have_run", Superseded(_) => "superseded", }
    AbandonReply, "abandon" { Abandoned => "abandoned", Superseded(_) => "superseded", }
    ReconcileReply, "reconcile" {
        Taken { .. } => "taken", StaleDecision(_) => "stale_decision", HeldBy { .. } => "held_by",
        StillAlive { .. } => "still_alive", AlreadyCompleted => "already_completed",
        NotExecuting(_) => "not_executing",
    }
    ForceCompleteReply, "force_complete" {
        Completed => "completed", StaleDecision(_) => "stale_decision", NotDecodable { .. } => "not_decodable",
    }
    ResetReply, "reset_to_claimed" {
        Reset { .. } => "reset", StaleDecision(_) => "stale_decision",
        EffectsMayLand { .. } => "effects_may_land",
    }
    EvictReply, "evict" {
        Evicted { .. } => "evicted", StaleDecision(_) => "stale_decision", Executing => "executing",
        NotClaimed(_) => "not_claimed",
    }
}

/// How long a request took. The clock is read only if a metrics recorder is installed.
pub(crate) struct Took {
    pub(crate) clock: LocalClock,
    pub(crate) sent: LocalTime,
}

impl IntoF64 for Took {
    fn into_f64(self) -> f64 {
        self.clock.now().since(self.sent).as_secs_f64()
    }
}

macro_rules! count_outcome {
    ($outcome:expr; $($word:literal)*) => {
        match $outcome {
            $($word => counter!("sentinel_outcomes_total", "outcome" => $word).increment(1),)*
            other => counter!("sentinel_outcomes_total", "outcome" => other).increment(1),
        }
    };
}

impl Core {
    /// The key, or `-` if keys are not traced.
    pub(crate) fn shown<'a>(&self, address: &'a Address) -> &'a str {
        if self.show_keys { address.key.as_str() } else { "-" }
    }

    /// Reports a request that was answered.
    pub(crate) fn answered<R: Named>(&self, address: &Address, stamped: &Stamped<R>, took: Took) {
        stamped.reply.count();
        R::time(took);
        let stamp = &stamped.stamp;
        tracing::debug!(
            operation = R::OPERATION,
            reply = stamped.reply.word(),
            namespace = address.namespace.as_str(),
            key = self.shown(address),
            token = stamp.token.get(),
            rev = stamp.rev,
            state = stamp.state.as_str(),
            changed = stamp.changed,
            "answered"
        );
    }

    /// Reports a request that the store did not answer.
    pub(crate) fn unanswered<R: Named>(&self, address: &Address, error: &StoreError) {
        R::count_error();
        let (operation, namespace, key) = (R::OPERATION, address.namespace.as_str(), self.shown(address));
        tracing::warn!(operation, namespace, key, %error, "the store did not answer");
    }

    /// Reports the outcome of a call.
    pub(crate) fn ended(&self, outcome: &'static str) {
        count_outcome!(outcome;
            "completed" "replayed" "failed" "in_progress" "reconciling" "uncertain" "not_run" "ran_uncertain"
            "unconfirmed" "superseded" "completed_not_stored" "error"
        );
    }
}

/// Counts heartbeats that were not answered, or for which the store did not read the record.
pub(crate) fn heartbeat_failed(beats: usize) {
    counter!("sentinel_heartbeat_failures_total").increment(beats as u64);
}

/// Counts an execution that lost contact: its lease ended without an answered heartbeat. Its function continues.
pub(crate) fn contact_lost() {
    counter!("sentinel_contacts_lost_total").increment(1);
}

/// Counts a worker that lost its authority.
pub(crate) fn lapsed(why: &'static str) {
    counter!("sentinel_lapses_total", "why" => why).increment(1);
}

/// How long the oldest uncertain key of a namespace has been in doubt; zero if none is.
pub(crate) fn oldest_uncertain(namespace: &str, age: Duration) {
    gauge!("sentinel_oldest_uncertain_seconds", "namespace" => namespace.to_owned()).set(age);
}
