use sentinel::outcome::NotRun;
use sentinel::prelude::*;
use sentinel::record::State;
use tokio::sync::oneshot;

use crate::{Lied, SECOND, charge, sentinel, state};

#[tokio::test(start_paused = true)]
async fn the_value_of_the_preparation_is_passed_to_the_function() {
    let sentinel = sentinel();
    let store = sentinel.clone();
    let once = sentinel.once("k").prepare(|_| async move { Ok(state(&store, "k").await) });
    let store = sentinel.clone();
    let outcome = once
        .run(|_, before| async move {
            Ok::<_, Lied>((before.as_str().to_owned(), state(&store, "k").await.as_str().to_owned()))
        })
        .await
        .unwrap();
    let Outcome::Completed((before, during)) = outcome else { panic!("did not run") };
    assert_eq!((before.as_str(), during.as_str()), ("claimed", "executing"));
}

#[tokio::test(start_paused = true)]
async fn a_preparation_that_fails_or_panics_cancels_the_claim() {
    let sentinel = sentinel();
    let failing = sentinel.once("k").prepare(|_| async { Err::<(), _>(Lied("no template")) });
    let outcome = failing.run(|_, ()| async { Ok(()) }).await.unwrap();
    assert!(matches!(outcome, Outcome::Failed(Failure::Preparation(Lied("no template")))));
    assert_eq!(state(&sentinel, "k").await, State::Free);

    let panicking = sentinel.once::<Lied>("k").prepare(|_| async { None::<Result<(), Lied>>.unwrap() });
    let outcome = panicking.run(|_, ()| async { Ok(()) }).await.unwrap();
    assert!(matches!(outcome, Outcome::NotRun(NotRun::PreparationPanicked(_))));
    assert!(matches!(charge(&sentinel, "k").await, Outcome::Completed(_)));
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_the_preparation_is_taken_over() {
    let sentinel = sentinel();
    let hangs = sentinel.once("k").ttl(SECOND).prepare(|_| std::future::pending::<Result<(), Lied>>());
    let crashed = tokio::spawn(hangs.run(|_, ()| async { Ok(()) }));
    tokio::time::sleep(SECOND / 2).await;
    assert!(
        matches!(charge(&sentinel, "k").await, Outcome::InProgress(other) if other.state == State::Claimed)
    );
    tokio::time::sleep(SECOND).await;
    assert!(matches!(charge(&sentinel, "k").await, Outcome::Completed(_)));
    crashed.abort();
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_for_a_caller_that_went_away_during_the_preparation() {
    let sentinel = sentinel();
    let (open, gate) = oneshot::channel::<()>();
    let once = sentinel.once("k").prepare(|_| async move {
        gate.await.unwrap();
        Ok(())
    });
    let (sender, started) = oneshot::channel::<()>();
    let call = once.run(|_, ()| async move {
        sender.send(()).unwrap();
        Ok::<_, Lied>(())
    });
    assert!(tokio::time::timeout(SECOND, call).await.is_err());
    open.send(()).unwrap();
    assert!(started.await.is_err(), "the function was dropped without having run");
    assert!(matches!(charge(&sentinel, "k").await, Outcome::Completed(_)), "and the claim was cancelled");
}

#[tokio::test(start_paused = true)]
async fn heartbeats_keep_the_claim_while_it_is_prepared() {
    let sentinel = sentinel();
    let once = sentinel.once("k").ttl(SECOND).hard_ttl(SECOND * 60).prepare(|_| async {
        tokio::time::sleep(SECOND * 10).await;
        Ok(())
    });
    let outcome = once.run(|_, ()| async { Ok::<_, Lied>("done".to_owned()) }).await.unwrap();
    assert!(matches!(outcome, Outcome::Completed(_)));
}
