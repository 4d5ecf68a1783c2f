use std::sync::Arc;

use sentinel::Sentinel;
use sentinel::cache::ReplayCache;
use sentinel::prelude::*;
use sentinel_conformance::Layered;

use crate::harness::Wire;
use crate::{Lied, SECOND};

/// A client behind a cache, and a count of the requests that reach the store.
fn cached() -> (Sentinel, Wire) {
    let wire = Wire { store: Arc::new(MemoryStore::new()), sent: Arc::default() };
    let cache = ReplayCache::new(Layered(wire.clone()));
    (Sentinel::new(cache).namespace("billing").unwrap(), wire)
}

#[tokio::test(start_paused = true)]
async fn a_remembered_result_is_replayed_without_the_store_until_its_retention_ends() {
    let (sentinel, wire) = cached();
    let run = |n: u32| {
        let once = sentinel.once("k").retention(SECOND * 10).fingerprint_text("request");
        once.run(move |_| async move { Ok::<_, Lied>(n) })
    };
    assert!(matches!(run(1).await.unwrap(), Outcome::Completed(1)));
    tokio::time::advance(SECOND * 9).await;
    for n in 2..5 {
        assert!(matches!(run(n).await.unwrap(), Outcome::Replayed(1)));
    }
    assert_eq!(wire.sent("claim"), 1);
    // The cache follows the clock of the test, as the store does.
    tokio::time::advance(SECOND).await;
    assert!(matches!(run(5).await.unwrap(), Outcome::Completed(5)));
    assert!(matches!(run(6).await.unwrap(), Outcome::Replayed(5)));
    assert_eq!(wire.sent("claim"), 2);
}

#[tokio::test(start_paused = true)]
async fn another_request_is_an_error_and_no_replay() {
    let (sentinel, _) = cached();
    let run = |request: &str| {
        let once = sentinel.once("k").fingerprint_text(request);
        once.run(move |_| async move { Ok::<_, Lied>("receipt".to_owned()) })
    };
    assert!(matches!(run("a").await.unwrap(), Outcome::Completed(_)));
    assert!(matches!(run("b").await, Err(sentinel::Error::FingerprintMismatch)));
    assert!(matches!(run("a").await.unwrap(), Outcome::Replayed(receipt) if receipt == "receipt"));
}

#[tokio::test(start_paused = true)]
async fn a_final_failure_is_remembered_and_an_unknown_outcome_is_not() {
    let (sentinel, wire) = cached();
    let run = |key: &'static str| {
        let once = sentinel.once(key).failed_for_good_if(|lied: &Lied| lied.0 == "declined");
        once.run(move |_| async move { Err::<u32, _>(Lied(key)) })
    };
    assert!(matches!(run("declined").await.unwrap(), Outcome::Failed(_)));
    assert!(matches!(run("declined").await.unwrap(), Outcome::Failed(Failure::Replayed(_))));
    assert_eq!(wire.sent("claim"), 1);
    assert!(matches!(run("reset by peer").await.unwrap(), Outcome::RanUncertain(_)));
    assert!(matches!(run("reset by peer").await.unwrap(), Outcome::Uncertain(_)));
    assert_eq!(wire.sent("claim"), 3);
}
