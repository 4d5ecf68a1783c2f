//! What the cache answers by itself, and what it leaves to the store.

use std::time::Duration;

use sentinel_core::operation::*;
use sentinel_core::store::Purge;
use sentinel_core::{Address, CoordinationStore as _, PURGE_REST};

use crate::bench::{Bench, asking, begun, call, complete, kept, key, result, text};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_second_replay_does_not_reach_the_store() {
    let (bench, k) = (Bench::new(), key("k"));
    bench.completed_elsewhere(&k, &call(), "receipt").await;
    let first = bench.cache.claim(&k, &call()).await.unwrap();
    assert_eq!(text(first.reply.clone()).as_deref(), Some("receipt"));
    for _ in 0..3 {
        assert_eq!(bench.cache.claim(&k, &call()).await.unwrap(), first);
    }
    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn what_was_completed_through_it_is_replayed_without_the_store() {
    let (bench, k) = (Bench::new(), key("k"));
    complete(&*bench.cache, &k, &call(), "receipt").await;
    let theirs = bench.store.claim(&k, &call()).await.unwrap();
    assert_eq!(bench.cache.claim(&k, &call()).await.unwrap(), theirs);
    assert_eq!(bench.asked(), 1, "the claim that was granted");
}

#[tokio::test]
async fn a_replay_is_stamped_and_dated_as_the_store_would() {
    let (bench, k) = (Bench::new(), key("k"));
    bench.completed_elsewhere(&k, &kept(HOUR), "receipt").await;
    for _ in 0..5 {
        bench.advance(Duration::from_micros(60_000_001));
        let ours = bench.cache.claim(&k, &call()).await.unwrap();
        assert_eq!(ours, bench.store.claim(&k, &call()).await.unwrap());
    }
    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn retention_ends_a_replay() {
    for through_the_cache in [false, true] {
        let (bench, k) = (Bench::new(), key("k"));
        if through_the_cache {
            complete(&*bench.cache, &k, &kept(HOUR), "old").await;
        } else {
            bench.completed_elsewhere(&k, &kept(HOUR), "old").await;
            bench.advance(HOUR / 2);
        }
        assert_eq!(bench.told(&k, &call()).await.as_deref(), Some("old"));
        let asked = bench.asked();
        bench.advance(HOUR / 4);
        assert_eq!(bench.told(&k, &call()).await.as_deref(), Some("old"));
        assert_eq!(bench.asked(), asked, "there is an entry to outlive");
        bench.advance(if through_the_cache { HOUR * 3 / 4 } else { HOUR / 4 });
        complete(&*bench.cache, &k, &kept(HOUR), "new").await;
        assert_eq!(bench.told(&k, &call()).await.as_deref(), Some("new"));
    }
}

#[tokio::test]
async fn an_entry_ends_before_retention_does_where_clocks_drift() {
    let (bench, k) = (Bench::new(), key("k"));
    bench.completed_elsewhere(&k, &kept(HOUR), "old").await;
    assert_eq!(bench.told(&k, &call()).await.as_deref(), Some("old"));
    // The store's clock is slewed forward, ours is slewed back, each by 500 parts in a million.
    bench.theirs.advance(HOUR);
    bench.ours.advance(HOUR - HOUR / 1000);
    assert!(matches!(bench.cache.claim(&k, &call()).await.unwrap().reply, ClaimReply::Granted(_)));
}

#[tokio::test]
async fn an_entry_lives_from_when_its_answer_was_asked_for() {
    for completes in [false, true] {
        let (bench, k) = (Bench::new(), key("k"));
        let slow = {
            let (theirs, ours) = (bench.theirs.clone(), bench.ours.clone());
            async move {
                theirs.advance(HOUR / 2);
                ours.advance(HOUR / 2);
            }
        };
        if completes {
            let claim = kept(HOUR);
            let grant = begun(&*bench.cache, &k, &claim).await;
            bench.meanwhile(slow);
            bench.cache.complete(&k, &Complete { grant, result: result("old") }).await.unwrap();
        } else {
            bench.completed_elsewhere(&k, &kept(HOUR), "old").await;
            bench.meanwhile(slow);
            assert_eq!(bench.told(&k, &call()).await.as_deref(), Some("old"));
        }
        let asked = bench.asked();
        assert_eq!(bench.told(&k, &call()).await.as_deref(), Some("old"));
        assert_eq!(bench.asked(), asked, "there is an entry to outlive");
        bench.advance(HOUR / 2);
        assert!(matches!(bench.cache.claim(&k, &call()).await.unwrap().reply, ClaimReply::Granted(_)));
    }
}

#[tokio::test]
async fn what_is_told_late_does_not_displace_what_came_after() {
    let (bench, k) = (Bench::new(), key("k"));
    for runs in [false, true] {
        bench.cache.clear();
        bench.theirs.advance(HOUR);
        bench.completed_elsewhere(&k, &kept(HOUR), "old").await;
        let (theirs, cache, address) = (bench.theirs.clone(), bench.cache.clone(), k.clone());
        bench.meanwhile(async move {
            // Forward at the store only, as an operator may: else the late entry would be over when it arrives.
            theirs.advance(HOUR);
            match runs {
                true => drop(begun(&*cache, &address, &kept(HOUR)).await),
                false => complete(&*cache, &address, &kept(HOUR), "new").await,
            }
        });
        assert_eq!(bench.told(&k, &call()).await.as_deref(), Some("old"), "it was, when it was asked for");
        let now = bench.told(&k, &call()).await;
        assert_eq!(now.as_deref(), if runs { None } else { Some("new") });
    }
}

#[tokio::test]
async fn a_completion_is_kept_under_the_terms_of_its_own_grant() {
    let (bench, k) = (Bench::new(), key("k"));
    let (ann, bob) = (call(), kept(HOUR));
    begun(&*bench.cache, &k, &ann).await;
    bench.store.cancel(&k, &Cancel { claim_id: ann.claim_id }).await.unwrap();
    let grant = begun(&bench.store, &k, &bob).await;
    bench.cache.complete(&k, &Complete { grant, result: result("bob's") }).await.unwrap();
    bench.advance(HOUR);
    assert!(matches!(bench.cache.claim(&k, &call()).await.unwrap().reply, ClaimReply::Granted(_)));
}

#[tokio::test]
async fn what_a_purge_took_is_not_replayed() {
    let (bench, k) = (Bench::new(), key("k"));
    complete(&*bench.cache, &k, &kept(HOUR), "old").await;
    bench.advance(HOUR + PURGE_REST);
    let purge = Purge { namespace: k.namespace.clone(), limit: 10, dry_run: false };
    assert_eq!(bench.cache.purge(&purge).await.unwrap().records, 1);
    assert!(matches!(bench.cache.claim(&k, &call()).await.unwrap().reply, ClaimReply::Granted(_)));
}

#[tokio::test]
async fn another_request_is_never_told_the_result() {
    for through_the_cache in [false, true] {
        let (bench, k) = (Bench::new(), key("k"));
        if through_the_cache {
            complete(&*bench.cache, &k, &asking("a"), "secret").await;
        } else {
            bench.completed_elsewhere(&k, &asking("a"), "secret").await;
        }
        // Known by an answer to nobody in particular, then by one to the same request.
        for asks in [call(), asking("a")] {
            assert_eq!(bench.told(&k, &asks).await.as_deref(), Some("secret"));
            for _ in 0..2 {
                let reply = bench.cache.claim(&k, &asking("b")).await.unwrap().reply;
                assert_eq!(reply, ClaimReply::FingerprintMismatch);
            }
        }
        let asked = bench.asked();
        assert_eq!(bench.told(&k, &asking("a")).await.as_deref(), Some("secret"));
        assert_eq!(bench.told(&k, &call()).await.as_deref(), Some("secret"));
        assert_eq!(bench.asked(), asked, "a refusal forgets nothing");
    }
}

#[tokio::test]
async fn a_result_without_fingerprint_is_learned_to_be_anybodys() {
    let (bench, k) = (Bench::new(), key("k"));
    bench.completed_elsewhere(&k, &call(), "open").await;
    for (asks, reaches) in [(call(), 1), (asking("a"), 2), (asking("a"), 2), (asking("b"), 3)] {
        assert_eq!(bench.told(&k, &asks).await.as_deref(), Some("open"));
        assert_eq!(bench.asked(), reaches);
    }
    // Two requests that differ were both answered.
    for asks in [asking("c"), call(), asking("a")] {
        assert_eq!(bench.told(&k, &asks).await.as_deref(), Some("open"));
    }
    assert_eq!(bench.asked(), 3);
}

#[tokio::test]
async fn a_completion_without_fingerprint_is_anybodys_at_once() {
    let (bench, k) = (Bench::new(), key("k"));
    complete(&*bench.cache, &k, &call(), "open").await;
    assert_eq!(bench.told(&k, &asking("a")).await.as_deref(), Some("open"));
    assert_eq!(bench.asked(), 1);
}

#[tokio::test]
async fn a_lease_is_not_answered_with_an_execution() {
    let (bench, k) = (Bench::new(), key("k"));
    complete(&*bench.cache, &k, &call(), "receipt").await;
    let lease = Address::lease(k.namespace.clone(), k.key.clone());
    let claim = Claim { phase: Phase::Claimed, ..call() };
    assert!(matches!(bench.cache.claim(&lease, &claim).await.unwrap().reply, ClaimReply::Granted(_)));
    assert_eq!(bench.told(&k, &call()).await.as_deref(), Some("receipt"));
    assert_eq!(bench.cache.len(), 1, "a lease takes no place");
}

#[tokio::test]
async fn each_key_has_its_own_result() {
    let bench = Bench::new();
    for name in ["a", "b", "c"] {
        complete(&*bench.cache, &key(name), &call(), name).await;
    }
    for name in ["c", "a", "b"] {
        assert_eq!(bench.told(&key(name), &call()).await.as_deref(), Some(name));
    }
    assert_eq!(bench.told(&key("d"), &call()).await, None);
    assert_eq!(bench.asked(), 4);
}

#[tokio::test]
async fn a_repeated_completion_says_nothing_of_its_retention() {
    let (bench, k) = (Bench::new(), key("k"));
    let claim = kept(HOUR);
    let grant = begun(&*bench.cache, &k, &claim).await;
    let done = Complete { grant, result: result("old") };
    // The first reply was lost.
    bench.store.complete(&k, &done).await.unwrap();
    bench.advance(HOUR / 2);
    let repeated = bench.cache.complete(&k, &done).await.unwrap();
    assert!(!repeated.stamp.changed);
    bench.advance(HOUR / 2);
    assert!(matches!(bench.cache.claim(&k, &call()).await.unwrap().reply, ClaimReply::Granted(_)));
}

#[tokio::test]
async fn an_outcome_that_was_not_recorded_is_not_replayed() {
    let (bench, k) = (Bench::new(), key("k"));
    let claim = call();
    let grant = begun(&*bench.cache, &k, &claim).await;
    let done = |text| Complete { grant, result: result(text) };
    bench.store.complete(&k, &done("first")).await.unwrap();
    let reply = bench.cache.complete(&k, &done("second")).await.unwrap().reply;
    assert_eq!(reply, CompleteReply::Conflict);
    assert_eq!(bench.told(&k, &call()).await.as_deref(), Some("first"));
}

#[tokio::test]
async fn what_the_store_says_of_a_key_ends_an_entry() {
    // The next run is about nothing in particular: in progress. Or about something else: a mismatch.
    for next in [call(), asking("c")] {
        let (bench, k) = (Bench::new(), key("k"));
        bench.completed_elsewhere(&k, &Claim { retention: Some(HOUR), ..asking("a") }, "old").await;
        assert_eq!(bench.told(&k, &asking("a")).await.as_deref(), Some("old"));
        // An operator set the store's clock forward: there, retention is over, and the cache cannot know.
        bench.theirs.advance(HOUR);
        begun(&bench.store, &k, &next).await;
        assert_eq!(bench.told(&k, &asking("a")).await.as_deref(), Some("old"));
        assert_eq!(bench.told(&k, &asking("b")).await, None);
        assert_eq!(bench.told(&k, &asking("a")).await, None);
    }
}

#[tokio::test]
async fn what_was_cleared_is_asked_for_again() {
    let (bench, k) = (Bench::new(), key("k"));
    complete(&*bench.cache, &k, &call(), "receipt").await;
    assert_eq!((bench.cache.len(), bench.asked()), (1, 1));
    bench.cache.clear();
    assert!(bench.cache.is_empty());
    assert_eq!(bench.told(&k, &call()).await.as_deref(), Some("receipt"));
    assert_eq!(bench.asked(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_callers_at_once_get_the_same_bytes() {
    let bench = std::sync::Arc::new(Bench::with_limits(sentinel_client::ReplayLimits {
        entries: 128,
        ..sentinel_client::ReplayLimits::default()
    }));
    let callers: Vec<_> = (0..8_u32)
        .map(|caller| {
            let bench = bench.clone();
            tokio::spawn(async move {
                for n in 0..2_000 {
                    let name = format!("k{}", (n * 7 + caller * 31) % 300);
                    let (k, claim) = (key(&name), call());
                    match bench.cache.claim(&k, &claim).await.unwrap().reply {
                        ClaimReply::Granted(granted) => {
                            let grant =
                                sentinel_core::Grant { token: granted.token, claim_id: claim.claim_id };
                            let result = result(&format!("{name} by {}", claim.claim_id));
                            bench.cache.complete(&k, &Complete { grant, result }).await.unwrap();
                        }
                        ClaimReply::InProgress { .. } => {}
                        reply @ ClaimReply::Completed { .. } => {
                            let ours = text(reply).unwrap();
                            let theirs = text(bench.store.claim(&k, &call()).await.unwrap().reply);
                            assert_eq!(Some(ours), theirs);
                        }
                        other => panic!("{other:?}"),
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(bench.asked() < 16_000, "some were answered here");
    assert!(bench.cache.len() <= 128);
}
