//! A function that records its result itself: the client reads the record to check this, and records nothing itself.

use sentinel::codec::{Json, encode_result};
use sentinel::prelude::*;
use sentinel::record::{Payload, RecordedResult, State};
use sentinel::store::operation::Complete;
use tokio::sync::oneshot;

use crate::{Lied, SECOND, charge, sentinel, state};

fn result(text: &str) -> RecordedResult {
    encode_result(&Json, &text.to_owned(), Payload::DEFAULT_LIMIT)
}

/// Runs a function that declares that it records its result, and records these.
async fn runs(store: &MemoryStore, recorded: Option<RecordedResult>) -> Outcome<String, Lied> {
    let own = store.clone();
    let function = move |run: Run| async move {
        run.records_its_result();
        if let Some(result) = recorded {
            let op = Complete { grant: run.grant(), result };
            let _ = own.complete(run.address(), &op).await.unwrap();
        }
        Ok("mine".to_owned())
    };
    Sentinel::new(store.clone()).namespace("billing").unwrap().once("k").run(function).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_result_that_was_not_recorded_leaves_the_key_uncertain_at_once() {
    let store = MemoryStore::new();
    let Outcome::RanUncertain(doubt) = runs(&store, None).await else { panic!("not in doubt") };
    assert!(doubt.error.is_none() && doubt.cause.as_str().contains("was not committed"), "{doubt:?}");
    let others = Sentinel::new(store).namespace("billing").unwrap();
    let Outcome::Uncertain(seen) = charge(&others, "k").await else { panic!("not uncertain") };
    assert_eq!(seen.token, doubt.token);
}

#[tokio::test(start_paused = true)]
async fn a_recorded_result_is_completed_and_with_other_bytes_superseded() {
    let store = MemoryStore::new();
    assert!(matches!(runs(&store, Some(result("mine"))).await, Outcome::Completed(text) if text == "mine"));
    let outcome = runs(&MemoryStore::new(), Some(result("other"))).await;
    let Outcome::Superseded(Ok(mine), current) = outcome else { panic!("{outcome:?}") };
    assert_eq!((mine.as_str(), current.state), ("mine", State::Completed));
}

#[tokio::test(start_paused = true)]
async fn a_decision_of_an_operator_in_the_meantime_counts() {
    let sentinel = sentinel();
    let (open, gate) = oneshot::channel::<()>();
    let slow = tokio::spawn(sentinel.once("k").ttl(SECOND).run(|run: Run| async move {
        run.records_its_result();
        gate.await.unwrap();
        Ok::<_, Lied>("mine".to_owned())
    }));
    tokio::time::sleep(SECOND * 2).await;
    let Ok(sentinel::reconcile::ReconcileOutcome::Taken(held)) = sentinel.reconciler("k").reconcile().await
    else {
        panic!("not taken")
    };
    let _ = held.force_complete(&"mine").await.unwrap();
    open.send(()).unwrap();
    let outcome = slow.await.unwrap().unwrap();
    let Outcome::Superseded(Ok(_), current) = outcome else { panic!("{outcome:?}") };
    assert_eq!((current.state, state(&sentinel, "k").await), (State::Completed, State::Completed));
}
