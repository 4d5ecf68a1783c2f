//! The checkers on correct histories, and on the same histories with one value changed.

use std::sync::Arc;

use sentinel_core::kernel::Op;
use sentinel_core::operation::*;
use sentinel_core::store::Inspection;
use sentinel_core::{
    Address, Change, ClaimId, ErrorKind, Event, Grant, Key, Label, OpId, Record, StoreError, StoreTime, Token,
};
use sentinel_memory::MemoryStore;

use super::actor::Completed;
use super::checker::{End, by_stamps};
use super::invariants;
use super::linearizability::linearizable;
use super::recorder::{Entry, Read, ReadResult, Recorder};
use crate::coordination::generate;
use crate::coordination::sequences::model::fresh_namespace;
use sentinel_core::Layer as _;

/// A history of one run: claimed, begun, extended, abandoned, reconciled, reset, claimed again; with refusals between.
async fn correct_history() -> (Address, Vec<Entry>, End) {
    let clock = Arc::new(sentinel_core::ManualClock::new(StoreTime::from_micros(1_000_000)));
    let store = Recorder::new(Arc::new(MemoryStore::with_clock(clock.clone())));
    let address = Address::execution(fresh_namespace("judge"), Key::new("key").unwrap());
    let claim = |n| Claim {
        cause: None,
        about: None,
        claim_id: ClaimId::from_bits(n),
        terms: generate::terms(2),
        retention: None,
        fingerprint: None,
        accepts: generate::accepts(0),
        worker: Label::lossy("worker"),
        phase: Phase::Claimed,
    };
    let send = async |op: Op| {
        clock.advance(std::time::Duration::from_micros(10));
        op.send(&store, &address).await.unwrap().stamp.token
    };
    let token = send(claim(1).into()).await;
    let grant = Grant { token, claim_id: ClaimId::from_bits(1) };
    send(claim(2).into()).await;
    send(Begin { grant }.into()).await;
    send(Heartbeat { grant }.into()).await;
    send(Begin { grant }.into()).await;
    send(Abandon { grant, cause: generate::reason(0), late_effects: generate::late_effects(0) }.into()).await;
    let (op_id, operator) = (OpId::from_bits(7), Label::lossy("operator"));
    let seen = Reconcile {
        op_id,
        operator: operator.clone(),
        reason: None,
        expect: token,
        even_if_alive: false,
        steal: false,
    };
    let token = send(seen.clone().into()).await;
    send(seen.into()).await;
    let reset = ResetToClaimed { op_id, token, operator, reason: None, accept_overlap: false };
    send(reset.into()).await;
    send(claim(3).into()).await;
    send(Begin { grant }.into()).await;
    let end = End::read(&**store.inner(), &address).await.unwrap();
    (address, store.entries(), end)
}

fn stamp(entry: &mut Entry) -> &mut Stamp {
    match &mut entry.reply {
        Some(Ok(stamped)) => &mut stamped.stamp,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_correct_history_passes_both_checkers() {
    let (address, entries, end) = correct_history().await;
    by_stamps(&address, &entries, &[], &end).unwrap();
    linearizable(&address, &entries, &end.record).unwrap();
}

type Falsify = fn(&mut Stamp);

#[tokio::test]
async fn a_wrong_field_in_any_stamp_is_detected() {
    let (address, entries, end) = correct_history().await;
    let falsifications: [(&str, Falsify); 6] = [
        ("rev up", |s| s.rev += 1),
        ("rev down", |s| s.rev -= 1),
        ("changed", |s| s.changed ^= true),
        ("token", |s| s.token = Token::from_stored(s.token.get() + 1)),
        ("state", |s| s.state = sentinel_core::State::ALL[(s.state as usize + 1) % 5]),
        ("now", |s| s.now = StoreTime::from_micros(s.now.as_micros() - 100)),
    ];
    for n in 0..entries.len() {
        for (name, falsify) in &falsifications {
            let mut wrong = entries.clone();
            falsify(stamp(&mut wrong[n]));
            assert!(by_stamps(&address, &wrong, &[], &end).is_err(), "{name} of {}", wrong[n]);
        }
    }
}

#[tokio::test]
async fn a_missing_or_swapped_reply_is_detected() {
    let (address, entries, end) = correct_history().await;
    for n in 0..entries.len() {
        let mut fewer = entries.clone();
        let changed = stamp(&mut fewer[n]).changed;
        fewer.remove(n);
        assert_eq!(by_stamps(&address, &fewer, &[], &end).is_err(), changed);
        assert_eq!(linearizable(&address, &fewer, &end.record).is_err(), changed);
    }
    for n in 1..entries.len() {
        // Sent and answered in the other order. Of any two neighbours here one changes the reply of the other.
        let mut swapped = entries.clone();
        let (before, after) = (swapped[n - 1].clone(), swapped[n].clone());
        (swapped[n - 1].invoked, swapped[n - 1].returned) = (after.invoked, after.returned);
        (swapped[n].invoked, swapped[n].returned) = (before.invoked, before.returned);
        swapped.swap(n - 1, n);
        assert!(by_stamps(&address, &swapped, &[], &end).is_err(), "{}", swapped[n]);
        assert!(linearizable(&address, &swapped, &end.record).is_err(), "{}", swapped[n]);
    }
}

#[tokio::test]
async fn an_unanswered_request_fills_the_gap_that_it_left() {
    let (address, entries, end) = correct_history().await;
    for n in 0..entries.len() {
        let mut wrong = entries.clone();
        let heartbeat = matches!(wrong[n].op, Op::Heartbeat(_));
        wrong[n].reply = Some(Err(StoreError::ambiguous(ErrorKind::LostReply, "gone")));
        by_stamps(&address, &wrong, &[], &end).unwrap();
        wrong[n].reply = Some(Err(StoreError::not_applied(ErrorKind::Busy, "not sent")));
        let changed = stamp(&mut entries[n].clone()).changed;
        assert_eq!(by_stamps(&address, &wrong, &[], &end).is_err(), changed, "heartbeat: {heartbeat}");
    }
}

#[tokio::test]
async fn a_wrong_record_or_log_at_the_end_is_detected() {
    let (address, entries, mut end) = correct_history().await;
    let last = end.events.pop().unwrap();
    assert!(by_stamps(&address, &entries, &[], &end).is_err());
    end.events.push(last);
    end.record.hard_until = StoreTime::ZERO;
    assert!(by_stamps(&address, &entries, &[], &end).is_err());
    assert!(linearizable(&address, &entries, &end.record).is_err());
}

#[tokio::test]
async fn a_read_that_does_not_match_the_record_is_detected() {
    let (address, entries, end) = correct_history().await;
    let inspection = |record: Record| {
        ReadResult::Record(Box::new(Inspection { now: record.last_now, record: Some(record) }))
    };
    let read = |invoked, returned, result| Read { address: address.clone(), invoked, returned, result };
    let checked = |read: Read| by_stamps(&address, &entries, &[read], &end);
    let last = entries.iter().filter_map(|entry| entry.returned).max().unwrap();
    let nothing = || ReadResult::Record(Box::new(Inspection { record: None, now: StoreTime::ZERO }));
    checked(read(0, 0, nothing())).unwrap();
    checked(read(last + 1, last + 2, inspection(end.record.clone()))).unwrap();
    checked(read(last + 1, last + 2, nothing())).unwrap_err();
    checked(read(0, 0, inspection(end.record.clone()))).unwrap_err();
    let torn = Record { lease_until: StoreTime::ZERO, ..end.record.clone() };
    checked(read(0, last, inspection(torn))).unwrap_err();
    let newest = |from: usize, to: usize| ReadResult::Events(end.events[from..to].to_vec());
    let all = end.events.len();
    checked(read(last + 1, last + 2, newest(all - 2, all))).unwrap();
    checked(read(last + 1, last + 2, newest(0, 2))).unwrap_err();
    checked(read(0, last, newest(0, 2))).unwrap();
    let gap = ReadResult::Events(vec![end.events[0].clone(), end.events[2].clone()]);
    checked(read(0, last, gap)).unwrap_err();
}

#[tokio::test]
async fn a_request_that_takes_effect_twice_is_detected() {
    let (address, _, End { mut events, .. }) = correct_history().await;
    invariants::effect_of_once(&address, &events).unwrap();
    let begun = events.iter().find(|event| event.change == Change::Begun).unwrap().clone();
    events.push(begun.clone());
    invariants::effect_of_once(&address, &events).unwrap_err();
    // Eight other calls came in between, so the id is no longer remembered.
    events.pop();
    let other = |n: u128| Event { claim_id: Some(ClaimId::from_bits(100 + n)), ..begun.clone() };
    events.extend((0..8).map(other));
    events.push(begun);
    invariants::effect_of_once(&address, &events).unwrap();
}

#[tokio::test]
async fn a_run_that_was_not_authorised_is_detected() {
    let (address, entries, end) = correct_history().await;
    let begun = |n| {
        let grant = Grant { token: Token::from_stored(1), claim_id: ClaimId::from_bits(n) };
        let first = entries.iter().find(|entry| matches!(entry.op, Op::Begin(_))).unwrap();
        let stamped = first.reply.clone().unwrap().unwrap();
        Completed { address: address.clone(), op: Begin { grant }.into(), stamped }
    };
    // The history has one reset: two calls may have run.
    invariants::single_run(&address, &[begun(1), begun(1), begun(2)], &end.events).unwrap();
    invariants::single_run(&address, &[begun(1), begun(2), begun(3)], &end.events).unwrap_err();
    invariants::explained(&address, &[begun(1)], &entries).unwrap_err();
}
