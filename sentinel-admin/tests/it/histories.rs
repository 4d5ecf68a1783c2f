//! Each story of a generated history reports each event once, and offers exactly the decisions that the kernel accepts.

use std::time::Duration;

use sentinel_admin::why::{Act, Call, Facts, Id, Step, Story, why};
use sentinel_conformance::{KernelHistory, kernel_histories};
use sentinel_core::kernel::{Op, Reading};
use sentinel_core::operation::*;
use sentinel_core::{
    Accepts, ClaimId, Label, OpId, Payload, Record, RecordedResult, StoreTime, Terms, Token,
};

/// A few seconds in an unoptimised build; `SENTINEL_CASES_FACTOR=20` makes 20,000 of them.
const HISTORIES: u32 = 1_000;

#[test]
fn each_story_reports_each_event_once_and_offers_what_the_kernel_accepts() {
    kernel_histories(HISTORIES, |history| {
        let facts = facts(history);
        let story = why(&facts);
        reports_each_event_once(history, &story)?;
        reports_the_heartbeats(history, &story)?;
        is_complete_text(&story)?;
        each_step_is_accepted(history, &story)?;
        each_accepted_decision_is_offered(history, &story)
    });
}

#[test]
fn the_newest_events_alone_make_a_story_too() {
    kernel_histories(HISTORIES / 10, |history| {
        for skipped in 1..=history.events.len() {
            let events = history.events[skipped..].to_vec();
            let facts = Facts { events, complete: false, ..facts(history) };
            let story = why(&facts);
            if story.headline.text.id() == Id::LogDiffers {
                return Err(format!("without the first {skipped} events the log seems to differ"));
            }
            is_complete_text(&story)?;
            each_step_is_accepted(history, &story)?;
        }
        Ok(())
    });
}

#[test]
fn a_log_that_lacks_an_event_is_noticed() {
    kernel_histories(HISTORIES / 10, |history| {
        for left_out in 0..history.events.len() {
            let mut events = history.events.clone();
            events.remove(left_out);
            let event = &history.events[left_out];
            // A purge ends a life: without it, the life that follows is complete. A missing abandon or take-over can
            // pass for a heartbeat, once the record keeps no trace of it.
            let may_pass = event.to.is_none() || event.from == event.to;
            let story = why(&Facts { events, ..facts(history) });
            let noticed = story.headline.text.id() == Id::LogDiffers;
            if !noticed && !may_pass {
                return Err(format!("event {left_out} is missing, and nothing was noticed"));
            }
            if noticed && story.next.iter().any(|step| step.call != Call::None) {
                return Err("a decision is offered on a record that its events contradict".into());
            }
        }
        Ok(())
    });
}

fn facts(history: &KernelHistory) -> Facts {
    let record = (!history.record.is_absent()).then(|| history.record.clone());
    let facts = Facts::of_record(history.address.clone(), record, history.now);
    Facts { events: history.events.clone(), complete: true, ..facts }
}

fn revs(story: &Story, wanted: impl Fn(Id) -> bool) -> Vec<u64> {
    let sentences = story.sentences.iter().filter(|sentence| wanted(sentence.text.id()));
    let mut revs: Vec<u64> =
        sentences.flat_map(|sentence| &sentence.revs).flat_map(|rev| rev.first..=rev.last).collect();
    revs.sort_unstable();
    revs
}

fn reports_each_event_once(history: &KernelHistory, story: &Story) -> Result<(), String> {
    if story.headline.text.id() == Id::LogDiffers {
        return Err("record and events seem to disagree".into());
    }
    let events = history.events.iter().map(|event| event.rev);
    let mut expected: Vec<u64> = events.chain(history.heartbeats.iter().copied()).collect();
    expected.sort_unstable();
    let reported = revs(story, |_| true);
    if reported != expected {
        return Err(format!("revs {expected:?} are reported as {reported:?}"));
    }
    let cited = story.sentences.iter().filter(|sentence| sentence.at.is_some() && sentence.revs.is_empty());
    for sentence in cited {
        let id = sentence.text.id();
        if !matches!(id, Id::Lapsed | Id::LapsedMayRun | Id::ClaimLapsed | Id::LeaseLapsed) {
            return Err(format!("{id:?} cites no event"));
        }
    }
    Ok(())
}

fn reports_the_heartbeats(history: &KernelHistory, story: &Story) -> Result<(), String> {
    let is_folded = |id: Id| id.name().starts_with("folded-");
    let reported = revs(story, |id| matches!(id, Id::Heartbeats | Id::HeartbeatsAtLeast));
    let folded = revs(story, is_folded);
    let expected: Vec<u64> =
        history.heartbeats.iter().copied().filter(|rev| folded.binary_search(rev).is_err()).collect();
    if reported != expected {
        return Err(format!("heartbeats {expected:?} are reported as {reported:?}"));
    }
    Ok(())
}

fn is_complete_text(story: &Story) -> Result<(), String> {
    let steps = story.next.iter().map(|step| &step.why);
    let texts = story.sentences.iter().map(|sentence| &sentence.text).chain(steps);
    for text in texts.chain([&story.headline.text]) {
        if text.to_string().contains(['{', '}']) {
            return Err(format!("a slot of {text} is not filled"));
        }
    }
    Ok(())
}

fn each_step_is_accepted(history: &KernelHistory, story: &Story) -> Result<(), String> {
    for step in story.next.iter().filter(|step| step.call != Call::None) {
        let at = step.possible_from.unwrap_or(history.now);
        if !is_accepted(history, &step.call, at) {
            return Err(format!("{step:?} is offered, and the kernel refuses it at {at}"));
        }
        if let Some(at) = step.possible_from {
            let before = StoreTime::from_micros(at.as_micros() - 1);
            if at <= history.now || is_accepted(history, &step.call, before.max(history.now)) {
                return Err(format!("{step:?} is possible before {at}"));
            }
        }
    }
    Ok(())
}

/// Every decision and a claim: accepted now, it is offered; accepted later without a change, its time is named.
fn each_accepted_decision_is_offered(history: &KernelHistory, story: &Story) -> Result<(), String> {
    for call in candidates(&history.record) {
        let accepted = accepted_from(history, &call);
        let offered = story.next.iter().find(|step| covers(step, &call));
        let named = offered.map(|step| step.possible_from.unwrap_or(history.now));
        if accepted != named {
            return Err(format!("{call:?} is accepted from {accepted:?} on, and offered from {named:?} on"));
        }
    }
    Ok(())
}

fn covers(step: &Step, call: &Call) -> bool {
    match (&step.call, call) {
        (Call::ForceComplete { .. }, Call::ForceComplete { .. })
        | (Call::SettleHappened { .. }, Call::SettleHappened { .. }) => true,
        (offered, call) => offered == call && step.act != Act::Nothing,
    }
}

fn candidates(record: &Record) -> Vec<Call> {
    let (token, expect) = (record.token, record.token);
    let content_type = first_accepted(&record.accepts);
    let reconcile = |even_if_alive, steal| Call::Reconcile { expect, even_if_alive, steal };
    vec![
        Call::Claim,
        reconcile(false, false),
        reconcile(true, false),
        reconcile(false, true),
        Call::ForceComplete { token, content_type: content_type.clone() },
        Call::Reset { token, accept_overlap: false },
        Call::Reset { token, accept_overlap: true },
        Call::Evict { expect },
        Call::SettleHappened { expect, content_type },
        Call::SettleDidNotHappen { expect },
    ]
}

/// When a call is accepted if nothing changes; None: never.
fn accepted_from(history: &KernelHistory, call: &Call) -> Option<StoreTime> {
    let (record, now) = (&history.record, history.now);
    let reconcile = |expect| Call::Reconcile { expect, even_if_alive: false, steal: false };
    let without_flags = match *call {
        Call::Reconcile { expect, .. } => Some(reconcile(expect)),
        Call::Reset { token, .. } => Some(Call::Reset { token, accept_overlap: false }),
        _ => None,
    };
    if let Some(plain) = without_flags.filter(|plain| plain != call) {
        // A flag makes another decision only where it is needed now.
        let is_needed = is_accepted(history, call, now) && !is_accepted(history, &plain, now);
        return is_needed.then_some(now);
    }
    let settles = matches!(call, Call::SettleHappened { .. } | Call::SettleDidNotHappen { .. });
    if settles && !is_accepted(history, &reconcile(record.token), now) {
        // Settling is offered once the key can be taken.
        return None;
    }
    let kept = record.completed_at.unwrap_or_default().plus(record.retention.unwrap_or_default());
    let mut times = [now, record.lease_until, record.hard_until, record.effects_until, kept];
    times.sort_unstable();
    times.into_iter().find(|at| *at >= now && is_accepted(history, call, *at))
}

/// Whether the kernel changes the record at a time.
fn is_accepted(history: &KernelHistory, call: &Call, now: StoreTime) -> bool {
    let mut record = history.record.clone();
    let apply = |record: &mut Record, op: Op| {
        let reading = Reading { kind: history.address.kind, now, floor: history.floor };
        op.apply(record, reading).is_ok_and(|done| done.stamped.stamp.changed)
    };
    match call {
        Call::None => false,
        Call::Claim => apply(&mut record, Op::Claim(claim())),
        Call::Reconcile { expect, even_if_alive, steal } => {
            apply(&mut record, reconcile(*expect, *even_if_alive, *steal))
        }
        Call::ForceComplete { token, content_type } => apply(&mut record, force(*token, content_type)),
        Call::Reset { token, accept_overlap } => apply(&mut record, reset(*token, *accept_overlap)),
        Call::Evict { expect } => {
            let (op_id, operator) = decider(3);
            apply(&mut record, Op::Evict(Evict { op_id, operator, reason: None, expect: *expect }))
        }
        Call::SettleHappened { expect, content_type } => {
            let taken = apply(&mut record, reconcile(*expect, false, false));
            let token = record.token;
            taken && apply(&mut record, force(token, content_type))
        }
        Call::SettleDidNotHappen { expect } => {
            let taken = apply(&mut record, reconcile(*expect, false, false));
            let token = record.token;
            taken && apply(&mut record, reset(token, false))
        }
    }
}

fn claim() -> Claim {
    let second = Duration::from_secs(1);
    Claim {
        claim_id: ClaimId::from_bits(u128::MAX),
        terms: Terms::new(second, second).unwrap(),
        retention: None,
        fingerprint: None,
        accepts: Accepts::any(),
        worker: Label::lossy("w"),
        phase: Phase::Claimed,
        cause: None,
        about: None,
    }
}

fn reconcile(expect: Token, even_if_alive: bool, steal: bool) -> Op {
    let (op_id, operator) = decider(0);
    Op::Reconcile(Reconcile { op_id, operator, reason: None, expect, even_if_alive, steal })
}

fn force(token: Token, content_type: &str) -> Op {
    let (op_id, operator) = decider(1);
    let result = RecordedResult::success(Payload::new(content_type, "1"));
    Op::ForceComplete(ForceComplete { op_id, token, operator, reason: None, result, as_is: false })
}

fn reset(token: Token, accept_overlap: bool) -> Op {
    let (op_id, operator) = decider(2);
    Op::ResetToClaimed(ResetToClaimed { op_id, token, operator, reason: None, accept_overlap })
}

fn decider(n: u128) -> (OpId, Label) {
    (OpId::from_bits(u128::MAX - n), Label::lossy("o"))
}

fn first_accepted(accepts: &Accepts) -> String {
    accepts.as_str().split(',').next().unwrap_or_default().replace("*/*", "text/plain")
}
