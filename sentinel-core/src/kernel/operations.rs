//! Operations on one record: the guard, the change and the reply of each, and how they are applied.

use super::reading::{Reading, Rule, Transition, next_token};
use super::{table, write};
use crate::address::Kind;
use crate::error::Invalid;
use crate::event::Event;
use crate::operation::*;
use crate::record::Record;
use crate::terms::late_effects;
use crate::token::Token;

/// An operation on one record.
pub trait Operation: std::fmt::Debug + Clone + Send + Sync + 'static {
    /// The type of the reply.
    type Reply: std::fmt::Debug + Clone + PartialEq + Send + 'static;
    /// The name used in logs and metrics.
    const NAME: &'static str;
    /// Whether leases support the operation. A lease has only the states free and claimed.
    const FOR_LEASES: bool;

    /// The guard: decides from the record's state whether the operation applies.
    fn rule(&self, record: &Record, at: &Reading) -> Rule<Self::Reply>;
    /// Changes the record. Called only if the rule is [`Rule::Change`].
    fn write(&self, record: &mut Record, at: &Reading) -> Option<Event>;
    /// The reply to an operation that took effect, now or before.
    fn confirm(&self, record: &Record, at: &Reading) -> Self::Reply;
    /// Checks that the values in the request are within their bounds.
    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }
    /// Checks that a record of this kind supports the request.
    fn admit(&self, kind: Kind) -> Result<(), Invalid> {
        self.check()?;
        match kind {
            Kind::Lease if !Self::FOR_LEASES => {
                Err(Invalid::new("operation", format!("{} does not apply to a lease", Self::NAME)))
            }
            _ => Ok(()),
        }
    }
}

/// Applies an operation to a record, in place. The guard is checked before anything is written: a refusal leaves the
/// record unchanged.
///
/// **Errors:** only for a request that fails in every state of the record: an operation that leases do not support, a
/// value out of its bounds, or a clock so far ahead that no token is left. Nothing has changed then.
pub fn apply<O: Operation>(
    record: &mut Record,
    op: &O,
    at: Reading,
) -> Result<Transition<O::Reply>, Invalid> {
    op.admit(at.kind)?;
    let at = Reading { now: at.now.max(record.last_now), ..at };
    if next_token(record, &at) >= Token::MAX.get() {
        return Err(Invalid::new("clock", "is beyond the largest fencing token"));
    }
    let (reply, changed, event) = match op.rule(record, &at) {
        Rule::Refuse(reply) => (reply, false, None),
        Rule::Repeat => (op.confirm(record, &at), false, None),
        Rule::Change => {
            let event = op.write(record, &at);
            (op.confirm(record, &at), true, event)
        }
    };
    let stamp = Stamp { now: at.now, rev: record.rev, token: record.token, state: record.state, changed };
    Ok(Transition { stamped: Stamped { reply, stamp }, event })
}

macro_rules! operations {
    ($($op:ident, $reply:ident, $name:literal, leases: $leases:literal, $function:ident $(, $check:item)?;)*) => {$(
        impl Operation for $op {
            type Reply = $reply;
            const NAME: &'static str = $name;
            const FOR_LEASES: bool = $leases;

            $($check)?

            #[inline]
            fn rule(&self, record: &Record, at: &Reading) -> Rule<$reply> {
                table::$function(record, self, at)
            }
            #[inline]
            fn write(&self, record: &mut Record, at: &Reading) -> Option<Event> {
                write::$function(record, self, at)
            }
            #[inline]
            fn confirm(&self, record: &Record, _at: &Reading) -> $reply {
                table::confirm::$function(record, self)
            }
        }
    )*};
}

operations! {
    Begin, BeginReply, "begin", leases: false, begin;
    Heartbeat, HeartbeatReply, "heartbeat", leases: true, heartbeat;
    Complete, CompleteReply, "complete", leases: false, complete;
    Cancel, CancelReply, "cancel", leases: true, cancel;
    Release, ReleaseReply, "release", leases: true, release;
    Abandon, AbandonReply, "abandon", leases: false, abandon, fn check(&self) -> Result<(), Invalid> {
        late_effects(self.late_effects).map(drop)
    };
    Reconcile, ReconcileReply, "reconcile", leases: false, reconcile;
    ForceComplete, ForceCompleteReply, "force_complete", leases: false, force_complete;
    ResetToClaimed, ResetReply, "reset_to_claimed", leases: false, reset_to_claimed;
    Evict, EvictReply, "evict", leases: true, evict;
}

impl Operation for Claim {
    type Reply = ClaimReply;
    const NAME: &'static str = "claim";
    const FOR_LEASES: bool = true;

    #[inline]
    fn rule(&self, record: &Record, at: &Reading) -> Rule<ClaimReply> {
        table::claim(record, self, at)
    }
    #[inline]
    fn write(&self, record: &mut Record, at: &Reading) -> Option<Event> {
        write::claim(record, self, at)
    }
    #[inline]
    fn confirm(&self, record: &Record, _at: &Reading) -> ClaimReply {
        table::confirm::claim(record, self)
    }
    fn admit(&self, kind: Kind) -> Result<(), Invalid> {
        match (kind, self.phase) {
            (Kind::Lease, Phase::Executing) => Err(Invalid::new("phase", "a lease is claimed, never begun")),
            _ => Ok(()),
        }
    }
}
