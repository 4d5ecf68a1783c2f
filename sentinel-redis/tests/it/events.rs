//! Where events are stored: the newest in the record itself, and the others in a list beside it.

use std::sync::{Arc, Mutex};

use sentinel_conformance::DynHarness as _;
use sentinel_core::kernel::{Rebuilt, rebuild};
use sentinel_core::operation::*;
use sentinel_core::{Address, CoordinationStore as _, EventLimit, OpId};
use sentinel_redis::RedisStore;
use sentinel_testbed::redis;

use crate::harness::{DAY, StoreHarness, call, kept, label, result, wordy};

fn listed(harness: &StoreHarness, address: &Address) -> u64 {
    harness.raw(&["LLEN", &harness.key('v', address)]).parse().unwrap()
}

/// Most records never need a list: one run fits into the record.
pub(crate) async fn few_events_need_no_list(harness: &StoreHarness, _: &str) {
    let address = harness.execution("k");
    let grant = harness.granted(&address, &call()).await;
    harness.change(&address, Begin { grant }).await;
    harness
        .change(
            &address,
            Abandon { grant, cause: label("no contact"), late_effects: std::time::Duration::ZERO },
        )
        .await;
    harness.change(&address, Complete { grant, result: result("done") }).await;
    assert_eq!((harness.changes(&address).await.len(), listed(harness, &address)), (4, 0));
}

/// Of many events the newest are kept, in order, with the state before them; the record does not grow with them.
pub(crate) async fn the_newest_events_are_kept(harness: &StoreHarness, _: &str) {
    let address = harness.lease("k");
    for cycles in 1..=100_u64 {
        harness.tombstone(&address).await;
        if cycles % 10 == 0 || (44..54).contains(&cycles) {
            are_the_newest(harness, &address, cycles * 2, EventLimit::new(100).unwrap()).await;
            assert!(listed(harness, &address) < 100, "{} are listed", listed(harness, &address));
            let bytes: u64 = harness.raw(&["STRLEN", &harness.key('r', &address)]).parse().unwrap();
            assert!(bytes < 1_500, "the record itself has {bytes} bytes");
        }
    }
}

/// Of this many changes the newest are kept.
async fn are_the_newest(harness: &StoreHarness, address: &Address, revs: u64, limit: EventLimit) {
    let events = async |most: u32| harness.store.history(address, most).await.unwrap();
    let all = events(u32::MAX).await;
    let is_trimmed = (all.len() as u64) < revs;
    assert_eq!(is_trimmed, revs > limit.max() as u64, "{} of {revs} are kept", all.len());
    assert!(all.len() <= limit.max() && (!is_trimmed || all.len() >= limit.kept()), "{} are kept", all.len());
    let reply: Vec<u64> = all.iter().map(|event| event.rev).collect();
    assert_eq!(reply, (revs + 1 - all.len() as u64..=revs).collect::<Vec<_>>());
    assert!(all.iter().enumerate().all(|(n, event)| event.base.is_some() == (is_trimmed && n == 0)));
    assert_eq!(rebuild(&all), Rebuilt::from(&harness.record(address).await));
    // No more are stored, either: a store with a higher limit sees the same.
    let builder = RedisStore::builder(&redis().url()).key_prefix(&harness.prefix);
    let beside = builder.max_events(EventLimit::new(EventLimit::MAX).unwrap()).open().await.unwrap();
    assert_eq!(beside.history(address, u32::MAX).await.unwrap(), all);
    for most in [1, 3, limit.kept() - 1].into_iter().filter(|most| *most < all.len()) {
        assert_eq!(events(most as u32).await, all[all.len() - most..]);
    }
}

/// Where only a few events are kept, only the last is in the record.
#[tokio::test]
async fn a_small_event_limit_is_exact() {
    for max in [8, 9, 47, 48, 49] {
        let limit = EventLimit::new(max).unwrap();
        let harness = StoreHarness::open(move |builder| builder.max_events(limit)).await;
        let address = harness.lease("k");
        for cycles in 1..=60 {
            harness.tombstone(&address).await;
            are_the_newest(&harness, &address, cycles * 2, limit).await;
        }
        assert!(listed(&harness, &address) < u64::from(max));
    }
}

/// An execution with every change that there is, again and again: what the dropped events came to is part of it.
#[tokio::test]
async fn the_state_of_dropped_events_is_rebuilt() {
    let limit = EventLimit::new(8).unwrap();
    let harness = StoreHarness::open(move |builder| builder.max_events(limit)).await;
    let address = harness.execution("k");
    for round in 0..6 {
        let grant = harness.granted(&address, &Claim { retention: Some(DAY), ..call() }).await;
        harness.change(&address, Begin { grant }).await;
        let cause = label(&format!("cause {round}"));
        harness.change(&address, Abandon { grant, cause, late_effects: DAY }).await;
        let decision = |token| Reconcile {
            op_id: OpId::random(),
            operator: label("olga"),
            reason: Some(label("why")),
            expect: token,
            even_if_alive: false,
            steal: false,
        };
        let token = harness.change(&address, decision(grant.token)).await.token;
        let (op_id, operator, reason) = (OpId::random(), label("olga"), Some(label("why")));
        match round % 2 {
            0 => {
                let reset = ResetToClaimed { op_id, token, operator, reason, accept_overlap: true };
                harness.change(&address, reset).await;
            }
            _ => {
                let result = result("found");
                let force = ForceComplete { op_id, token, operator, reason, result, as_is: false };
                harness.change(&address, force).await;
                harness.advance(DAY).await;
            }
        }
        let revs = harness.record(&address).await.rev;
        are_the_newest(&harness, &address, revs, limit).await;
    }
}

/// Two clients that find the list of a record too long drop its oldest events once.
#[tokio::test]
async fn a_list_that_others_have_shortened_is_left_alone() {
    let trim: Arc<Mutex<String>> = Arc::default();
    let seen = trim.clone();
    let edit = move |script: &str, text: String| {
        if script == "trim" {
            *seen.lock().unwrap() = text.clone();
        }
        text
    };
    let edit = Arc::new(edit);
    let harness = StoreHarness::open(move |builder| builder.edit_scripts(edit.clone())).await;
    let address = harness.execution("k");
    harness.completed(&address, &wordy(kept())).await;
    let (list, marker) = (harness.key('v', &address), harness.named("marker"));
    let before = harness.raw(&["LRANGE", &list, "0", "-1"]);
    let text = trim.lock().unwrap().clone();
    let keys = [&marker; 7].map(String::as_str);
    let call = [&["EVAL", &text, "8"][..], &keys, &[&list, "0", "0", "0", "1", "another", "mine"]].concat();
    assert_eq!(harness.raw(&call), "0");
    assert_eq!(harness.raw(&["LRANGE", &list, "0", "-1"]), before);
}

/// Old events are returned like new ones, with all their texts.
pub(crate) async fn long_texts_are_kept_in_the_list(harness: &StoreHarness, _: &str) {
    let address = harness.execution("k");
    let claim = wordy(call());
    let grant = harness.granted(&address, &claim).await;
    let reply = harness.store.history(&address, 1).await.unwrap();
    harness.change(&address, Begin { grant }).await;
    harness.change(&address, Release { grant, vouched: true }).await;
    assert!(listed(harness, &address) > 0);
    assert_eq!(harness.changes(&address).await, ["claimed", "begun", "released"]);
    assert_eq!(harness.store.history(&address, 3).await.unwrap()[..1], reply);
}

/// A list that is far too long, since it was not shortened: more than Lua hands over one by one. What is read of it is
/// not.
pub(crate) async fn ten_thousand_events_are_kept_within_the_limit(harness: &StoreHarness, _: &str) {
    let address = harness.execution("k");
    harness.granted(&address, &wordy(call())).await;
    harness.completed(&harness.execution("other"), &wordy(kept())).await;
    let (list, other) = (harness.key('v', &address), harness.key('v', &harness.execution("other")));
    let copy = "for n = 1, 9999 do redis.call('RPUSH', KEYS[1], redis.call('LINDEX', KEYS[2], 0)) end";
    harness.raw(&["EVAL", copy, "2", &list, &other]);
    let reply = harness.store.history(&address, u32::MAX).await.unwrap();
    assert!(reply.len() == 75 && reply[0].base.is_some(), "{} are returned", reply.len());
    assert_eq!(harness.store.history(&address, 50).await.unwrap().len(), 50);
}

/// A purge leaves one event, and no list.
pub(crate) async fn a_purged_list_is_gone(harness: &StoreHarness, _: &str) {
    let address = harness.execution("k");
    harness.completed(&address, &wordy(kept())).await;
    assert!(listed(harness, &address) > 0);
    harness.advance(DAY).await;
    assert_eq!((harness.purge().await, harness.changes(&address).await), (1, vec!["purged"]));
}

mod checks {
    crate::mutants::own_tests! {
        few_events_need_no_list;
        the_newest_events_are_kept;
        long_texts_are_kept_in_the_list;
        ten_thousand_events_are_kept_within_the_limit;
        a_purged_list_is_gone;
    }
}
