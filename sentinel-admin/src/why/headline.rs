//! The state of a key in one sentence, and what it means for callers.

use std::time::Duration;

use sentinel_core::survey::in_doubt_since;
use sentinel_core::{Kind, Record, State, Verdict};

use super::catalogue::Id;
use super::facts::Facts;
use super::story::{Actor, Headline};
use super::text::{Recorded, Slot, Text};

/// The headline of a key whose record can be trusted.
pub(super) fn headline(facts: &Facts) -> Headline {
    let absent = Record::absent();
    let record = facts.record.as_ref().unwrap_or(&absent);
    let age = |since| Slot::Age(facts.now.since(since));
    let is_lease = facts.address.kind == Kind::Lease;
    let live = record.is_live(facts.now);
    let claimed_at = record.claimed_at.unwrap_or(record.last_now);
    let (id, since, next) = match record.state {
        State::Free if record.is_absent() && is_lease => (Id::IsLeaseAbsent, facts.now, Actor::Caller),
        State::Free if record.is_absent() => (Id::IsAbsent, facts.now, Actor::Caller),
        State::Free if is_lease => (Id::IsLeaseFree, facts.now, Actor::Caller),
        State::Free if record.after_reset => (Id::IsReset, facts.now, Actor::Caller),
        State::Free => (Id::IsFree, facts.now, Actor::Caller),
        State::Claimed if is_lease && live => (Id::IsLeaseHeld, claimed_at, Actor::Worker),
        State::Claimed if is_lease => (Id::IsLeaseLapsed, record.lease_until, Actor::Caller),
        State::Claimed if live => (Id::IsClaimed, claimed_at, Actor::Worker),
        State::Claimed => (Id::IsLapsed, record.lease_until, Actor::Caller),
        State::Executing if live => {
            (Id::IsExecuting, record.begun_at.unwrap_or(record.last_now), Actor::Worker)
        }
        State::Executing => (Id::IsUncertain, in_doubt_since(record), Actor::Operator),
        State::Reconciling => {
            let since = record.decision.as_ref().map_or(record.last_now, |decision| decision.at);
            (Id::IsReconciling, since, Actor::Operator)
        }
        State::Completed => completed(facts, record),
    };
    let operator = record.decision.as_ref().map(|decision| decision.operator.clone());
    let text = Text::new(id)
        .with("age", age(since))
        .with("who", Slot::Who(record.worker.clone()))
        .with("operator", Slot::Who(operator));
    Headline { text: named(text, facts), next }
}

fn completed(facts: &Facts, record: &Record) -> (Id, sentinel_core::StoreTime, Actor) {
    let at = record.completed_at.unwrap_or(record.last_now);
    let failed = record.result.as_ref().is_some_and(|result| result.verdict == Verdict::Failure);
    match record.is_past_retention(facts.now) {
        true => (Id::IsPastRetention, at.plus(record.retention.unwrap_or(Duration::ZERO)), Actor::Caller),
        false if failed => (Id::IsFailed, at, Actor::None),
        false => (Id::IsCompleted, at, Actor::None),
    }
}

/// The headline where record and events disagree.
pub(super) fn log_differs(facts: &Facts) -> Headline {
    Headline { text: named(Text::new(Id::LogDiffers), facts), next: Actor::Operator }
}

/// The headline where the store may have lost data.
pub(super) fn distrusted(facts: &Facts) -> Headline {
    Headline { text: named(Text::new(Id::CannotBeTrusted), facts), next: Actor::Operator }
}

fn named(text: Text, facts: &Facts) -> Text {
    text.with("key", Slot::Name(facts.address.key.to_string()))
        .with("namespace", Slot::Name(facts.address.namespace.to_string()))
}

/// What callers get meanwhile.
pub(super) fn callers(facts: &Facts) -> Text {
    let absent = Record::absent();
    let record = facts.record.as_ref().unwrap_or(&absent);
    let (now, live) = (facts.now, record.is_live(facts.now));
    match record.state {
        State::Claimed if live && facts.address.kind == Kind::Lease => {
            Text::new(Id::CallersLease).with("until", Slot::At(record.lease_until, now))
        }
        State::Claimed | State::Executing if live => Text::new(Id::CallersInProgress),
        State::Free => Text::new(Id::CallersRun),
        State::Claimed => Text::new(Id::CallersTakeOver),
        State::Executing => Text::new(Id::CallersUncertain),
        State::Reconciling => Text::new(Id::CallersReconciling),
        State::Completed if record.is_past_retention(now) => Text::new(Id::CallersRun),
        State::Completed => {
            let recorded = record.result.as_ref().map(Recorded::of);
            let recorded = recorded.unwrap_or_else(|| Recorded::earlier(Verdict::Success, None));
            let kept = record.retention_left(now).map(|left| now.plus(left));
            Text::new(Id::CallersReplay)
                .with("result", Slot::Recorded(recorded))
                .with("kept", Slot::KeptUntil(kept, now))
        }
    }
}

/// The reconciler by code, if the key waits for a decision.
pub(super) fn reconciler(facts: &Facts) -> Option<Text> {
    let waits = facts.record.as_ref().is_some_and(|record| record.is_uncertain(facts.now));
    let reconciler = facts.reconciler.as_ref().filter(|_| waits)?;
    Some(Text::new(Id::ReconcilerRuns).with("who", Slot::Who(reconciler.holder.clone())))
}
