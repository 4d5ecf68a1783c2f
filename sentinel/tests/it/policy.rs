//! Settings of a client and of one call.

use std::io;
use std::time::Duration;

use sentinel::prelude::*;
use sentinel::record::{Kind, Record};

use crate::{Lied, SECOND, seen, sentinel};

async fn record(sentinel: &Sentinel, kind: Kind, key: &str) -> Record {
    sentinel.inspect(kind, key).await.unwrap().record.unwrap()
}

/// ttl, hard ttl and late effects of an execution.
async fn terms(sentinel: &Sentinel, key: &str) -> [Duration; 3] {
    let terms = record(sentinel, Kind::Execution, key).await.terms.unwrap();
    [terms.ttl(), terms.hard_ttl(), terms.late_effects()]
}

async fn run_with(once: sentinel::once::Once<Lied>) -> Outcome<String, Lied> {
    once.run(|_| async { Ok("receipt".to_owned()) }).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_a_policy_sets_is_the_default_of_all_calls_of_its_client() {
    let plain = sentinel();
    let policy = Policy::new()
        .ttl(SECOND * 10)
        .hard_ttl(SECOND * 60)
        .late_effects(SECOND * 5)
        .retention(SECOND * 100)
        .payload_limit(3);
    let strict = plain.clone().policy(policy);
    assert!(matches!(run_with(strict.once("a")).await, Outcome::CompletedNotStored(..)));
    assert_eq!(terms(&strict, "a").await, [SECOND * 10, SECOND * 60, SECOND * 5]);
    assert_eq!(seen(&strict, "a").await.record.unwrap().retention, Some(SECOND * 100));
    // A client that was made before is not affected.
    assert!(matches!(run_with(plain.once("b")).await, Outcome::Completed(_)));
    assert_eq!(terms(&plain, "b").await, [SECOND * 30, SECOND * 30, SECOND * 60]);
    assert_eq!(seen(&plain, "b").await.record.unwrap().retention, None);
}

#[tokio::test(start_paused = true)]
async fn a_second_policy_of_a_client_leaves_what_it_does_not_set() {
    let first = Policy::new().ttl(SECOND).hard_ttl(SECOND * 60);
    let sentinel = sentinel().policy(first).policy(Policy::new().ttl(SECOND * 2));
    let _ = run_with(sentinel.once("a")).await;
    assert_eq!(terms(&sentinel, "a").await, [SECOND * 2, SECOND * 60, SECOND * 60]);
}

#[tokio::test(start_paused = true)]
async fn in_one_call_the_last_setting_wins() {
    let sentinel = sentinel().policy(Policy::new().ttl(SECOND).hard_ttl(SECOND * 60).retention(SECOND));
    let call = || Policy::new().ttl(SECOND * 2);
    let _ = run_with(sentinel.once("policy last").ttl(SECOND * 3).policy(call())).await;
    assert_eq!(terms(&sentinel, "policy last").await[..2], [SECOND * 2, SECOND * 60]);
    let _ = run_with(sentinel.once("method last").policy(call()).ttl(SECOND * 3)).await;
    assert_eq!(terms(&sentinel, "method last").await[..2], [SECOND * 3, SECOND * 60]);
    let _ = run_with(sentinel.once("no limit").retention(None)).await;
    assert_eq!(seen(&sentinel, "no limit").await.record.unwrap().retention, None);
}

#[tokio::test(start_paused = true)]
async fn a_contradiction_is_an_error_of_the_call_and_sends_nothing() {
    let sentinel = sentinel().policy(Policy::new().hard_ttl(SECOND * 60));
    let refused = sentinel.once::<Lied>("a").ttl(SECOND * 61).run(|_| async { Ok(()) }).await;
    assert!(refused.unwrap_err().to_string().contains("below the ttl"));
    assert!(seen(&sentinel, "a").await.record.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_lease_uses_ttl_hard_ttl_and_wait() {
    let policy = Policy::new().ttl(SECOND).hard_ttl(SECOND * 5).wait(SECOND * 20);
    let sentinel = sentinel().policy(policy);
    let LeaseOutcome::Held(first) = sentinel.lease("a").acquire().await.unwrap() else { panic!("not held") };
    let terms = record(&sentinel, Kind::Lease, "a").await.terms.unwrap();
    assert_eq!((terms.ttl(), terms.hard_ttl()), (SECOND, SECOND * 5));
    // It waits until the first one is over: the first one's hard ttl is 5 s.
    let LeaseOutcome::Held(second) = sentinel.lease("a").acquire().await.unwrap() else { panic!("not held") };
    assert!(first.lost().is_some() && second.lost().is_none());
    let at_once = sentinel.lease("a").wait(Duration::ZERO).acquire().await.unwrap();
    assert!(matches!(at_once, LeaseOutcome::InProgress(_)));
    let call = Policy::new().ttl(SECOND * 2).wait(Duration::ZERO);
    let _held = sentinel.lease("b").policy(call).acquire().await.unwrap();
    assert_eq!(record(&sentinel, Kind::Lease, "b").await.terms.unwrap().ttl(), SECOND * 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_as_long_as_its_policy_states() {
    let sentinel = sentinel().policy(Policy::new().wait(SECOND * 20));
    let run = sentinel.once::<Lied>("a").run(|_| async {
        tokio::time::sleep(SECOND * 10).await;
        Ok("receipt".to_owned())
    });
    let run = tokio::spawn(run);
    tokio::task::yield_now().await;
    assert!(matches!(run_with(sentinel.once("a")).await, Outcome::Replayed(_)));
    assert!(matches!(run.await.unwrap().unwrap(), Outcome::Completed(_)));
}

/// A policy that classifies two types of error.
fn classes() -> Policy {
    Policy::new()
        .nothing_happened_if::<io::Error>(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        .failed_for_good_if::<io::Error>(|error| error.kind() == io::ErrorKind::PermissionDenied)
        .nothing_happened_if::<Lied>(|error| error.0 == "busy")
}

#[tokio::test(start_paused = true)]
async fn one_policy_classifies_errors_of_several_types() {
    let sentinel = sentinel().policy(classes());
    let io = async |key: &str, kind: io::ErrorKind| {
        sentinel
            .once(key)
            .run(move |_| async move { Err::<(), _>(io::Error::from(kind)) })
            .await
            .unwrap()
            .name()
    };
    assert_eq!(io("refused", io::ErrorKind::ConnectionRefused).await, "failed");
    assert_eq!(io("refused", io::ErrorKind::ConnectionReset).await, "ran_uncertain", "it was free again");
    assert_eq!(io("denied", io::ErrorKind::PermissionDenied).await, "failed");
    let again = sentinel.once("denied").run(|_| async { Ok::<_, io::Error>(()) }).await.unwrap();
    assert!(matches!(again, Outcome::Failed(Failure::Replayed(_))), "{again:?}");
    let lied = async |key: &str, text: &'static str| {
        sentinel.once(key).run(move |_| async move { Err::<(), _>(Lied(text)) }).await.unwrap()
    };
    assert!(matches!(lied("busy", "busy").await, Outcome::Failed(Failure::NothingHappened(_))));
    assert!(matches!(lied("busy", "reset").await, Outcome::RanUncertain(_)));
    // An error of another type than any rule is for.
    let other = sentinel.once("other").run(|_| async { Err::<(), _>("busy".to_owned()) }).await.unwrap();
    assert!(matches!(other, Outcome::RanUncertain(_)), "{other:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_client_and_call_class_differently_is_in_doubt() {
    let sentinel = sentinel().policy(classes());
    let once = sentinel.once("a").failed_for_good_if(|error: &Lied| error.0 == "busy");
    let outcome = once.run(|_| async { Err::<(), _>(Lied("busy")) }).await.unwrap();
    assert!(matches!(outcome, Outcome::RanUncertain(_)), "{outcome:?}");
    let call = Policy::new().failed_for_good_if::<Lied>(|error| error.0 == "busy");
    let outcome =
        sentinel.once("b").policy(call).run(|_| async { Err::<(), _>(Lied("busy")) }).await.unwrap();
    assert!(matches!(outcome, Outcome::RanUncertain(_)), "{outcome:?}");
    // Rules of the call apply beside those of the client.
    let once = sentinel.once("c").failed_for_good_if(|error: &Lied| error.0 == "declined");
    let outcome = once.run(|_| async { Err::<(), _>(Lied("declined")) }).await.unwrap();
    assert!(matches!(outcome, Outcome::Failed(Failure::ForGood(_))), "{outcome:?}");
}
