//! The requests to which the cache replies by itself, and those that it sends to the store.

use std::time::Duration;

use sentinel_core::operation::*;
use sentinel_core::store::Purge;
use sentinel_core::{Address, CoordinationStore as _, PURGE_REST};

use crate::harness::{DynHarness, asking, begun, call, complete, kept, key, result, text};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_second_replay_does_not_reach_the_store() {
    let (harness, k) = (DynHarness::new(), key("k"));
    harness.completed_elsewhere(&k, &call(), "receipt").await;
    let first = harness.cache.claim(&k, &call()).await.unwrap();
    assert_eq!(text(first.reply.clone()).as_deref(), Some("receipt"));
    for _ in 0..3 {
        assert_eq!(harness.cache.claim(&k, &call()).await.unwrap(), first);
    }
    assert_eq!(harness.asked(), 1);
}

#[tokio::test]
async fn what_was_completed_through_it_is_replayed_without_the_store() {
    let (harness, k) = (DynHarness::new(), key("k"));
    complete(&*harness.cache, &k, &call(), "receipt").await;
    let theirs = harness.store.claim(&k, &call()).await.unwrap();
    assert_eq!(harness.cache.claim(&k, &call()).await.unwrap(), theirs);
    assert_eq!(harness.asked(), 1, "the claim that was granted");
}

#[tokio::test]
async fn a_replay_is_stamped_and_dated_as_the_store_would() {
    let (harness, k) = (DynHarness::new(), key("k"));
    harness.completed_elsewhere(&k, &kept(HOUR), "receipt").await;
    for _ in 0..5 {
        harness.advance(Duration::from_micros(60_000_001));
        let ours = harness.cache.claim(&k, &call()).await.unwrap();
        assert_eq!(ours, harness.store.claim(&k, &call()).await.unwrap());
    }
    assert_eq!(harness.asked(), 1);
}

#[tokio::test]
async fn retention_ends_a_replay() {
    for through_the_cache in [false, true] {
        let (harness, k) = (DynHarness::new(), key("k"));
        if through_the_cache {
            complete(&*harness.cache, &k, &kept(HOUR), "old").await;
        } else {
            harness.completed_elsewhere(&k, &kept(HOUR), "old").await;
            harness.advance(HOUR / 2);
        }
        assert_eq!(harness.replayed(&k, &call()).await.as_deref(), Some("old"));
        let asked = harness.asked();
        harness.advance(HOUR / 4);
        assert_eq!(harness.replayed(&k, &call()).await.as_deref(), Some("old"));
        assert_eq!(harness.asked(), asked, "there is an entry to outlive");
        harness.advance(if through_the_cache { HOUR * 3 / 4 } else { HOUR / 4 });
        complete(&*harness.cache, &k, &kept(HOUR), "new").await;
        assert_eq!(harness.replayed(&k, &call()).await.as_deref(), Some("new"));
    }
}

#[tokio::test]
async fn an_entry_ends_before_retention_does_where_clocks_drift() {
    let (harness, k) = (DynHarness::new(), key("k"));
    harness.completed_elsewhere(&k, &kept(HOUR), "old").await;
    assert_eq!(harness.replayed(&k, &call()).await.as_deref(), Some("old"));
    // The store's clock is slewed forward, ours is slewed back, each by 500 parts in a million.
    harness.theirs.advance(HOUR);
    harness.ours.advance(HOUR - HOUR / 1000);
    assert!(matches!(harness.cache.claim(&k, &call()).await.unwrap().reply, ClaimReply::Granted(_)));
}

#[tokio::test]
async fn an_entry_is_valid_from_the_sending_of_its_request() {
    for completes in [false, true] {
        let (harness, k) = (DynHarness::new(), key("k"));
        let slow = {
            let (theirs, ours) = (harness.theirs.clone(), harness.ours.clone());
            async move {
                theirs.advance(HOUR / 2);
                ours.advance(HOUR / 2);
            }
        };
        if completes {
            let claim = kept(HOUR);
            let grant = begun(&*harness.cache, &k, &claim).await;
            harness.meanwhile(slow);
            harness.cache.complete(&k, &Complete { grant, result: result("old") }).await.unwrap();
        } else {
            harness.completed_elsewhere(&k, &kept(HOUR), "old").await;
            harness.meanwhile(slow);
            assert_eq!(harness.replayed(&k, &call()).await.as_deref(), Some("old"));
        }
        let asked = harness.asked();
        assert_eq!(harness.replayed(&k, &call()).await.as_deref(), Some("old"));
        assert_eq!(harness.asked(), asked, "there is an entry to outlive");
        harness.advance(HOUR / 2);
        assert!(matches!(harness.cache.claim(&k, &call()).await.unwrap().reply, ClaimReply::Granted(_)));
    }
}

#[tokio::test]
async fn a_late_reply_does_not_replace_a_newer_one() {
    let (harness, k) = (DynHarness::new(), key("k"));
    for runs in [false, true] {
        harness.cache.clear();
        harness.theirs.advance(HOUR);
        harness.completed_elsewhere(&k, &kept(HOUR), "old").await;
        let (theirs, cache, address) = (harness.theirs.clone(), harness.cache.clone(), k.clone());
        harness.meanwhile(async move {
            // Forward at the store only, as an operator may: else the late entry would be over when it arrives.
            theirs.advance(HOUR);
            match runs {
                true => drop(begun(&*cache, &address, &kept(HOUR)).await),
                false => complete(&*cache, &address, &kept(HOUR), "new").await,
            }
        });
        assert_eq!(
            harness.replayed(&k, &call()).await.as_deref(),
            Some("old"),
            "it was, when the request was sent"
        );
        let now = harness.replayed(&k, &call()).await;
        assert_eq!(now.as_deref(), if runs { None } else { Some("new") });
    }
}

#[tokio::test]
async fn a_completion_is_kept_under_the_terms_of_its_own_grant() {
    let (harness, k) = (DynHarness::new(), key("k"));
    let (ann, bob) = (call(), kept(HOUR));
    begun(&*harness.cache, &k, &ann).await;
    harness.store.cancel(&k, &Cancel { claim_id: ann.claim_id }).await.unwrap();
    let grant = begun(&harness.store, &k, &bob).await;
    harness.cache.complete(&k, &Complete { grant, result: result("bob's") }).await.unwrap();
    harness.advance(HOUR);
    assert!(matches!(harness.cache.claim(&k, &call()).await.unwrap().reply, ClaimReply::Granted(_)));
}

#[tokio::test]
async fn what_a_purge_took_is_not_replayed() {
    let (harness, k) = (DynHarness::new(), key("k"));
    complete(&*harness.cache, &k, &kept(HOUR), "old").await;
    harness.advance(HOUR + PURGE_REST);
    let purge = Purge { namespace: k.namespace.clone(), limit: 10, dry_run: false };
    assert_eq!(harness.cache.purge(&purge).await.unwrap().records, 1);
    assert!(matches!(harness.cache.claim(&k, &call()).await.unwrap().reply, ClaimReply::Granted(_)));
}

#[tokio::test]
async fn a_request_with_another_fingerprint_never_gets_the_result() {
    for through_the_cache in [false, true] {
        let (harness, k) = (DynHarness::new(), key("k"));
        if through_the_cache {
            complete(&*harness.cache, &k, &asking("a"), "secret").await;
        } else {
            harness.completed_elsewhere(&k, &asking("a"), "secret").await;
        }
        // Known by the reply to a claim without a fingerprint, then by one to the same request.
        for asks in [call(), asking("a")] {
            assert_eq!(harness.replayed(&k, &asks).await.as_deref(), Some("secret"));
            for _ in 0..2 {
                let reply = harness.cache.claim(&k, &asking("b")).await.unwrap().reply;
                assert_eq!(reply, ClaimReply::FingerprintMismatch);
            }
        }
        let asked = harness.asked();
        assert_eq!(harness.replayed(&k, &asking("a")).await.as_deref(), Some("secret"));
        assert_eq!(harness.replayed(&k, &call()).await.as_deref(), Some("secret"));
        assert_eq!(harness.asked(), asked, "a refusal forgets nothing");
    }
}

#[tokio::test]
async fn a_result_without_fingerprint_is_learned_to_be_anybodys() {
    let (harness, k) = (DynHarness::new(), key("k"));
    harness.completed_elsewhere(&k, &call(), "open").await;
    for (asks, reaches) in [(call(), 1), (asking("a"), 2), (asking("a"), 2), (asking("b"), 3)] {
        assert_eq!(harness.replayed(&k, &asks).await.as_deref(), Some("open"));
        assert_eq!(harness.asked(), reaches);
    }
    // Two requests that differ were both answered.
    for asks in [asking("c"), call(), asking("a")] {
        assert_eq!(harness.replayed(&k, &asks).await.as_deref(), Some("open"));
    }
    assert_eq!(harness.asked(), 3);
}

#[tokio::test]
async fn a_completion_without_fingerprint_is_anybodys_at_once() {
    let (harness, k) = (DynHarness::new(), key("k"));
    complete(&*harness.cache, &k, &call(), "open").await;
    assert_eq!(harness.replayed(&k, &asking("a")).await.as_deref(), Some("open"));
    assert_eq!(harness.asked(), 1);
}

#[tokio::test]
async fn a_claim_of_a_lease_does_not_get_an_execution() {
    let (harness, k) = (DynHarness::new(), key("k"));
    complete(&*harness.cache, &k, &call(), "receipt").await;
    let lease = Address::lease(k.namespace.clone(), k.key.clone());
    let claim = Claim { phase: Phase::Claimed, ..call() };
    assert!(matches!(harness.cache.claim(&lease, &claim).await.unwrap().reply, ClaimReply::Granted(_)));
    assert_eq!(harness.replayed(&k, &call()).await.as_deref(), Some("receipt"));
    assert_eq!(harness.cache.len(), 1, "a lease takes no entry");
}

#[tokio::test]
async fn each_key_has_its_own_result() {
    let harness = DynHarness::new();
    for name in ["a", "b", "c"] {
        complete(&*harness.cache, &key(name), &call(), name).await;
    }
    for name in ["c", "a", "b"] {
        assert_eq!(harness.replayed(&key(name), &call()).await.as_deref(), Some(name));
    }
    assert_eq!(harness.replayed(&key("d"), &call()).await, None);
    assert_eq!(harness.asked(), 4);
}

#[tokio::test]
async fn a_repeated_completion_reports_no_retention() {
    let (harness, k) = (DynHarness::new(), key("k"));
    let claim = kept(HOUR);
    let grant = begun(&*harness.cache, &k, &claim).await;
    let done = Complete { grant, result: result("old") };
    // The first reply was lost.
    harness.store.complete(&k, &done).await.unwrap();
    harness.advance(HOUR / 2);
    let repeated = harness.cache.complete(&k, &done).await.unwrap();
    assert!(!repeated.stamp.changed);
    harness.advance(HOUR / 2);
    assert!(matches!(harness.cache.claim(&k, &call()).await.unwrap().reply, ClaimReply::Granted(_)));
}

#[tokio::test]
async fn an_outcome_that_was_not_recorded_is_not_replayed() {
    let (harness, k) = (DynHarness::new(), key("k"));
    let claim = call();
    let grant = begun(&*harness.cache, &k, &claim).await;
    let done = |text| Complete { grant, result: result(text) };
    harness.store.complete(&k, &done("first")).await.unwrap();
    let reply = harness.cache.complete(&k, &done("second")).await.unwrap().reply;
    assert_eq!(reply, CompleteReply::Conflict);
    assert_eq!(harness.replayed(&k, &call()).await.as_deref(), Some("first"));
}

#[tokio::test]
async fn a_reply_of_the_store_about_a_key_ends_its_entry() {
    // The next run is about nothing in particular: in progress. Or about something else: a mismatch.
    for next in [call(), asking("c")] {
        let (harness, k) = (DynHarness::new(), key("k"));
        harness.completed_elsewhere(&k, &Claim { retention: Some(HOUR), ..asking("a") }, "old").await;
        assert_eq!(harness.replayed(&k, &asking("a")).await.as_deref(), Some("old"));
        // An operator set the store's clock forward: there, the retention has ended, and the cache cannot know.
        harness.theirs.advance(HOUR);
        begun(&harness.store, &k, &next).await;
        assert_eq!(harness.replayed(&k, &asking("a")).await.as_deref(), Some("old"));
        assert_eq!(harness.replayed(&k, &asking("b")).await, None);
        assert_eq!(harness.replayed(&k, &asking("a")).await, None);
    }
}

#[tokio::test]
async fn a_cleared_key_is_requested_again() {
    let (harness, k) = (DynHarness::new(), key("k"));
    complete(&*harness.cache, &k, &call(), "receipt").await;
    assert_eq!((harness.cache.len(), harness.asked()), (1, 1));
    harness.cache.clear();
    assert!(harness.cache.is_empty());
    assert_eq!(harness.replayed(&k, &call()).await.as_deref(), Some("receipt"));
    assert_eq!(harness.asked(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_callers_at_once_get_the_same_bytes() {
    let harness = std::sync::Arc::new(DynHarness::with_limits(sentinel_client::ReplayLimits {
        entries: 128,
        ..sentinel_client::ReplayLimits::default()
    }));
    let callers: Vec<_> = (0..8_u32)
        .map(|caller| {
            let harness = harness.clone();
            tokio::spawn(async move {
                for n in 0..2_000 {
                    let name = format!("k{}", (n * 7 + caller * 31) % 300);
                    let (k, claim) = (key(&name), call());
                    match harness.cache.claim(&k, &claim).await.unwrap().reply {
                        ClaimReply::Granted(granted) => {
                            let grant =
                                sentinel_core::Grant { token: granted.token, claim_id: claim.claim_id };
                            let result = result(&format!("{name} by {}", claim.claim_id));
                            harness.cache.complete(&k, &Complete { grant, result }).await.unwrap();
                        }
                        ClaimReply::InProgress { .. } => {}
                        reply @ ClaimReply::Completed { .. } => {
                            let ours = text(reply).unwrap();
                            let theirs = text(harness.store.claim(&k, &call()).await.unwrap().reply);
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
    assert!(harness.asked() < 16_000, "some were answered here");
    assert!(harness.cache.len() <= 128);
}
