//! Causes: given to a call, inherited from the run in which a call is made, and no part of any decision.

use sentinel::prelude::*;
use sentinel::record::{Address, By, Cause, Kind, Record, Root, TraceId};

use crate::{Lied, sentinel};

async fn record(sentinel: &Sentinel, key: &str) -> Record {
    sentinel.inspect(Kind::Execution, key).await.unwrap().record.unwrap()
}

fn order() -> Cause {
    Cause::new(Root::new("order-42").unwrap()).with_trace(TraceId::from_bits(42).unwrap())
}

/// What a run of `key` passes on.
async fn child_of(sentinel: &Sentinel, key: &str) -> Cause {
    let parent = record(sentinel, key).await;
    let address = Address::execution(sentinel.current_namespace().clone(), sentinel::Key::new(key).unwrap());
    parent.cause.unwrap().child(By { address, token: parent.token }).unwrap()
}

async fn run(sentinel: &Sentinel, key: &str) {
    let outcome = sentinel.once(key).run(|_| async { Ok::<_, Lied>(()) }).await.unwrap();
    assert!(matches!(outcome, Outcome::Completed(())), "{outcome:?}");
}

#[tokio::test]
async fn a_call_records_its_cause_and_what_it_is_about() {
    let sentinel = sentinel();
    let once = sentinel.once("k").cause(Root::new("order-42").unwrap()).about("the order of a customer");
    let outcome = once.run(|run| async move { Ok::<_, Lied>(run.cause().cloned()) }).await.unwrap();
    let cause = Cause::new(Root::new("order-42").unwrap());
    assert!(matches!(outcome, Outcome::Completed(Some(seen)) if seen == cause));
    let record = record(&sentinel, "k").await;
    assert_eq!(record.cause, Some(cause));
    assert_eq!(record.about.unwrap().as_str(), "the order of a customer");
}

#[tokio::test]
async fn a_call_outside_of_a_run_has_no_cause() {
    let sentinel = sentinel();
    run(&sentinel, "k").await;
    let record = record(&sentinel, "k").await;
    assert_eq!((record.cause, record.about), (None, None));
}

#[tokio::test]
async fn a_text_that_is_too_long_is_refused_before_anything_is_sent() {
    let sentinel = sentinel();
    for text in ["", "two\nlines", &"x".repeat(1025)] {
        let once = sentinel.once("k").about(text);
        assert!(once.run(|_| async { Ok::<_, Lied>(()) }).await.is_err(), "{text:?}");
        assert!(sentinel.lease("k").about(text).acquire().await.is_err(), "{text:?}");
    }
    assert_eq!(sentinel.inspect(Kind::Execution, "k").await.unwrap().record, None);
}

#[tokio::test]
async fn a_call_inside_a_run_inherits_its_root_with_that_run_as_the_cause() {
    let sentinel = sentinel();
    let inner = sentinel.clone();
    let outcome = sentinel.once("first").cause(order()).run(|first| async move {
        let next = inner.clone();
        let second = inner.once("second").run(|second| async move {
            run(&next, "third").await;
            Ok::<_, Lied>(second.child_cause().unwrap())
        });
        let LeaseOutcome::Held(lease) = inner.lease("lease").acquire().await.unwrap() else {
            return Err(Lied("the lease is free"));
        };
        let leased = lease.child_cause().unwrap().unwrap();
        let _ = second.await.unwrap();
        Ok::<_, Lied>((first.child_cause().unwrap().unwrap(), leased))
    });
    let Outcome::Completed((of_first, leased)) = outcome.await.unwrap() else { panic!("it runs") };
    assert_eq!(of_first, child_of(&sentinel, "first").await);
    assert_eq!(record(&sentinel, "second").await.cause, Some(of_first.clone()));
    assert_eq!(record(&sentinel, "third").await.cause, Some(child_of(&sentinel, "second").await));
    assert_eq!((leased.hop(), leased.root(), leased.trace()), (2, order().root(), order().trace()));
    run(&sentinel, "afterwards").await;
    assert_eq!(record(&sentinel, "afterwards").await.cause, None, "the run is over");
}

#[tokio::test]
async fn a_preparation_inherits_too_and_a_cause_of_its_own_comes_first() {
    let sentinel = sentinel();
    let (inner, own) = (sentinel.clone(), Cause::new(Root::new("own").unwrap()));
    let theirs = own.clone();
    let once = sentinel.once::<Lied>("first").cause(order()).prepare(|_| async move {
        run(&inner, "prepared").await;
        let own = inner.once("own").cause(theirs).run(|_| async { Ok::<_, Lied>(()) }).await.unwrap();
        assert!(matches!(own, Outcome::Completed(())));
        Ok(())
    });
    let outcome = once.run(|_, ()| async { Ok::<_, Lied>(()) }).await.unwrap();
    assert!(matches!(outcome, Outcome::Completed(())));
    assert_eq!(record(&sentinel, "prepared").await.cause, Some(child_of(&sentinel, "first").await));
    assert_eq!(record(&sentinel, "own").await.cause, Some(own));
}

#[tokio::test]
async fn a_task_that_the_function_spawns_inherits_only_what_it_is_given() {
    let sentinel = sentinel();
    let inner = sentinel.clone();
    let once = sentinel.once("first").cause(order());
    let outcome = once.run(|first| async move {
        let (cause, theirs) = (first.child_cause().unwrap().unwrap(), inner.clone());
        tokio::spawn(async move { run(&theirs, "spawned").await }).await.unwrap();
        let given = inner.once("given").cause(cause).run(|_| async { Ok::<_, Lied>(()) });
        assert!(matches!(tokio::spawn(given).await.unwrap().unwrap(), Outcome::Completed(())));
        Ok::<_, Lied>(())
    });
    assert!(matches!(outcome.await.unwrap(), Outcome::Completed(())));
    assert_eq!(record(&sentinel, "spawned").await.cause, None);
    assert_eq!(record(&sentinel, "given").await.cause, Some(child_of(&sentinel, "first").await));
}

/// A cause decides nothing: past the last hop a call runs, without a cause.
#[tokio::test]
async fn past_the_last_hop_a_call_runs_without_a_cause() {
    let sentinel = sentinel();
    let address = Address::execution(sentinel.current_namespace().clone(), sentinel::Key::new("p").unwrap());
    let by = By { address, token: Token::MAX };
    let last = (0..Cause::MAX_HOPS).fold(order(), |cause, _| cause.child(by.clone()).unwrap());
    let inner = sentinel.clone();
    let outcome = sentinel.once("last").cause(last.clone()).run(|last| async move {
        assert!(last.child_cause().is_err(), "the 33rd hop");
        run(&inner, "next").await;
        Ok::<_, Lied>(())
    });
    assert!(matches!(outcome.await.unwrap(), Outcome::Completed(())));
    assert_eq!(record(&sentinel, "last").await.cause, Some(last));
    assert_eq!(record(&sentinel, "next").await.cause, None);
}

/// The same key with another cause is the same work.
#[tokio::test]
async fn a_replay_does_not_depend_on_the_cause() {
    let sentinel = sentinel();
    for (n, root) in ["one", "two"].into_iter().enumerate() {
        let once = sentinel.once("k").cause(Root::new(root).unwrap()).fingerprint(&7).about(root);
        let outcome = once.run(|_| async { Ok::<_, Lied>(7) }).await.unwrap();
        let is_replay = matches!(outcome, Outcome::Replayed(7));
        assert_eq!(is_replay, n == 1, "{outcome:?}");
    }
    assert_eq!(record(&sentinel, "k").await.cause, Some(Cause::new(Root::new("one").unwrap())));
}
