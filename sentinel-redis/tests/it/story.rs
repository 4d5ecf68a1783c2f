//! Where events stand: the newest in the record itself, and what is too much for it in a list beside it.

use std::sync::{Arc, Mutex};

use sentinel_conformance::Bench as _;
use sentinel_core::kernel::{Rebuilt, rebuild};
use sentinel_core::operation::*;
use sentinel_core::{Address, CoordinationStore as _, EventLimit, OpId};
use sentinel_redis::RedisStore;
use sentinel_testbed::redis;

use crate::rig::{DAY, Rig, call, kept, label, result, wordy};

fn listed(rig: &Rig, address: &Address) -> u64 {
    rig.raw(&["LLEN", &rig.key('v', address)]).parse().unwrap()
}

/// Most records never need a list: one run fits into the record.
pub(crate) async fn a_short_story_needs_no_list(rig: &Rig, _: &str) {
    let address = rig.execution("k");
    let grant = rig.granted(&address, &call()).await;
    rig.change(&address, Begin { grant }).await;
    rig.change(
        &address,
        Abandon { grant, cause: label("no contact"), late_effects: std::time::Duration::ZERO },
    )
    .await;
    rig.change(&address, Complete { grant, result: result("done") }).await;
    assert_eq!((rig.story(&address).await.len(), listed(rig, &address)), (4, 0));
}

/// Of a long story the newest part is kept, in its order, with the state that it begins from; the record does not grow with it.
pub(crate) async fn the_newest_events_are_kept(rig: &Rig, _: &str) {
    let address = rig.lease("k");
    for cycles in 1..=100_u64 {
        rig.tombstone(&address).await;
        if cycles % 10 == 0 || (44..54).contains(&cycles) {
            are_the_newest(rig, &address, cycles * 2, EventLimit::new(100).unwrap()).await;
            assert!(listed(rig, &address) < 100, "{} are listed", listed(rig, &address));
            let bytes: u64 = rig.raw(&["STRLEN", &rig.key('r', &address)]).parse().unwrap();
            assert!(bytes < 1_500, "the record itself has {bytes} bytes");
        }
    }
}

/// Of so many changes the newest are kept.
async fn are_the_newest(rig: &Rig, address: &Address, revs: u64, limit: EventLimit) {
    let events = async |most: u32| rig.store.history(address, most).await.unwrap();
    let all = events(u32::MAX).await;
    let is_trimmed = (all.len() as u64) < revs;
    assert_eq!(is_trimmed, revs > limit.max() as u64, "{} of {revs} are kept", all.len());
    assert!(all.len() <= limit.max() && (!is_trimmed || all.len() >= limit.kept()), "{} are kept", all.len());
    let told: Vec<u64> = all.iter().map(|event| event.rev).collect();
    assert_eq!(told, (revs + 1 - all.len() as u64..=revs).collect::<Vec<_>>());
    assert!(all.iter().enumerate().all(|(n, event)| event.base.is_some() == (is_trimmed && n == 0)));
    assert_eq!(rebuild(&all), Rebuilt::from(&rig.record(address).await));
    // No more are stored, either: a store with a higher limit sees the same.
    let builder = RedisStore::builder(&redis().url()).key_prefix(&rig.prefix);
    let beside = builder.max_events(EventLimit::new(EventLimit::MAX).unwrap()).open().await.unwrap();
    assert_eq!(beside.history(address, u32::MAX).await.unwrap(), all);
    for most in [1, 3, limit.kept() - 1].into_iter().filter(|most| *most < all.len()) {
        assert_eq!(events(most as u32).await, all[all.len() - most..]);
    }
}

/// Where only a few events are kept, none but the last stands in the record.
#[tokio::test]
async fn a_few_events_are_kept_as_exactly() {
    for max in [8, 9, 47, 48, 49] {
        let limit = EventLimit::new(max).unwrap();
        let rig = Rig::open(move |builder| builder.max_events(limit)).await;
        let address = rig.lease("k");
        for cycles in 1..=60 {
            rig.tombstone(&address).await;
            are_the_newest(&rig, &address, cycles * 2, limit).await;
        }
        assert!(listed(&rig, &address) < u64::from(max));
    }
}

/// An execution with every change that there is, again and again: what the dropped events came to is part of it.
#[tokio::test]
async fn what_was_dropped_is_rebuilt() {
    let limit = EventLimit::new(8).unwrap();
    let rig = Rig::open(move |builder| builder.max_events(limit)).await;
    let address = rig.execution("k");
    for round in 0..6 {
        let grant = rig.granted(&address, &Claim { retention: Some(DAY), ..call() }).await;
        rig.change(&address, Begin { grant }).await;
        let cause = label(&format!("cause {round}"));
        rig.change(&address, Abandon { grant, cause, late_effects: DAY }).await;
        let decision = |token| Reconcile {
            op_id: OpId::random(),
            operator: label("olga"),
            reason: Some(label("why")),
            expect: token,
            even_if_alive: false,
            steal: false,
        };
        let token = rig.change(&address, decision(grant.token)).await.token;
        let (op_id, operator, reason) = (OpId::random(), label("olga"), Some(label("why")));
        match round % 2 {
            0 => {
                let reset = ResetToClaimed { op_id, token, operator, reason, accept_overlap: true };
                rig.change(&address, reset).await;
            }
            _ => {
                let result = result("found");
                let force = ForceComplete { op_id, token, operator, reason, result, as_is: false };
                rig.change(&address, force).await;
                rig.advance(DAY).await;
            }
        }
        let revs = rig.record(&address).await.rev;
        are_the_newest(&rig, &address, revs, limit).await;
    }
}

/// Two who find the list of a record too long drop its oldest events once.
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
    let rig = Rig::open(move |builder| builder.edit_scripts(edit.clone())).await;
    let address = rig.execution("k");
    rig.completed(&address, &wordy(kept())).await;
    let (list, marker) = (rig.key('v', &address), rig.named("marker"));
    let before = rig.raw(&["LRANGE", &list, "0", "-1"]);
    let text = trim.lock().unwrap().clone();
    let keys = [&marker; 6].map(String::as_str);
    let call = [&["EVAL", &text, "7"][..], &keys, &[&list, "0", "0", "0", "1", "another", "mine"]].concat();
    assert_eq!(rig.raw(&call), "0");
    assert_eq!(rig.raw(&["LRANGE", &list, "0", "-1"]), before);
}

/// What was told long ago is told as what is new, with all its words.
pub(crate) async fn words_are_kept_in_the_list(rig: &Rig, _: &str) {
    let address = rig.execution("k");
    let claim = wordy(call());
    let grant = rig.granted(&address, &claim).await;
    let told = rig.store.history(&address, 1).await.unwrap();
    rig.change(&address, Begin { grant }).await;
    rig.change(&address, Release { grant, vouched: true }).await;
    assert!(listed(rig, &address) > 0);
    assert_eq!(rig.story(&address).await, ["claimed", "begun", "released"]);
    assert_eq!(rig.store.history(&address, 3).await.unwrap()[..1], told);
}

/// A list that is far too long, since it was not shortened: more than Lua hands over one by one. What is read of it is not.
pub(crate) async fn a_story_of_ten_thousand_is_told(rig: &Rig, _: &str) {
    let address = rig.execution("k");
    rig.granted(&address, &wordy(call())).await;
    rig.completed(&rig.execution("other"), &wordy(kept())).await;
    let (list, other) = (rig.key('v', &address), rig.key('v', &rig.execution("other")));
    let copy = "for n = 1, 9999 do redis.call('RPUSH', KEYS[1], redis.call('LINDEX', KEYS[2], 0)) end";
    rig.raw(&["EVAL", copy, "2", &list, &other]);
    let told = rig.store.history(&address, u32::MAX).await.unwrap();
    assert!(told.len() == 75 && told[0].base.is_some(), "{} are told", told.len());
    assert_eq!(rig.store.history(&address, 50).await.unwrap().len(), 50);
}

/// A purge leaves one event, and no list.
pub(crate) async fn a_purged_list_is_gone(rig: &Rig, _: &str) {
    let address = rig.execution("k");
    rig.completed(&address, &wordy(kept())).await;
    assert!(listed(rig, &address) > 0);
    rig.advance(DAY).await;
    assert_eq!((rig.purge().await, rig.story(&address).await), (1, vec!["purged"]));
}

mod holds {
    crate::mutants::own_tests! {
        a_short_story_needs_no_list;
        the_newest_events_are_kept;
        words_are_kept_in_the_list;
        a_story_of_ten_thousand_is_told;
        a_purged_list_is_gone;
    }
}
