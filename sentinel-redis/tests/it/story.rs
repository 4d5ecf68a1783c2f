//! Where events stand: the newest in the record itself, and what is too much for it in a list beside it.

use sentinel_conformance::Bench as _;
use sentinel_core::CoordinationStore as _;
use sentinel_core::operation::*;

use crate::rig::{DAY, Rig, call, kept, label, result, wordy};

fn listed(rig: &Rig, address: &sentinel_core::Address) -> u64 {
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

/// Of a long story the newest part is kept, in its order, and the record does not grow with it.
pub(crate) async fn the_newest_events_are_kept(rig: &Rig, _: &str) {
    let address = rig.lease("k");
    for _ in 0..60 {
        rig.tombstone(&address).await;
    }
    let revs = async |limit: u32| -> Vec<u64> {
        rig.store.history(&address, limit).await.unwrap().iter().map(|event| event.rev).collect()
    };
    let all = revs(u32::MAX).await;
    assert_eq!(all, (121 - all.len() as u64..=120).collect::<Vec<_>>());
    assert_eq!(listed(rig, &address), 100);
    assert!(all.len() < 110, "{} events are kept", all.len());
    for limit in [1, 3, 50] {
        assert_eq!(revs(limit).await, all[all.len() - limit as usize..]);
    }
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

/// As many as a store keeps unless told otherwise: more than Lua hands over one by one.
pub(crate) async fn a_story_of_ten_thousand_is_told(rig: &Rig, _: &str) {
    let address = rig.execution("k");
    rig.granted(&address, &wordy(call())).await;
    rig.completed(&rig.execution("other"), &wordy(kept())).await;
    let (list, other) = (rig.key('v', &address), rig.key('v', &rig.execution("other")));
    let copy = "for n = 1, 9999 do redis.call('RPUSH', KEYS[1], redis.call('LINDEX', KEYS[2], 0)) end";
    rig.raw(&["EVAL", copy, "2", &list, &other]);
    assert_eq!(rig.store.history(&address, u32::MAX).await.unwrap().len(), 10_000);
    assert_eq!(rig.store.history(&address, 5_000).await.unwrap().len(), 5_000);
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
