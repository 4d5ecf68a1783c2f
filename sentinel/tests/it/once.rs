use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use sentinel::Error;
use sentinel::codec::Raw;
use sentinel::kernel::{Op, Reply};
use sentinel::once::Ending;
use sentinel::outcome::{NotRun, NotStored};
use sentinel::prelude::*;
use sentinel::record::{Address, Label, Payload, RecordedResult, State};
use sentinel::store::operation::Stamped;
use sentinel::store::{ErrorKind, StoreError};
use sentinel_conformance::{Layer, Layered};
use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::oneshot;

use crate::{Lied, SECOND, charge, doubt, seen, sentinel, state};

#[tokio::test(start_paused = true)]
async fn a_result_is_replayed_and_the_function_runs_once() {
    let sentinel = sentinel();
    assert!(matches!(charge(&sentinel, "k").await, Outcome::Completed(text) if text == "charged k"));
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let again = sentinel.once("k").run(move |_| async move {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Lied>("another".to_owned())
    });
    assert!(matches!(again.await.unwrap(), Outcome::Replayed(text) if text == "charged k"));
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn an_error_without_a_vouch_leaves_the_outcome_unknown() {
    let sentinel = sentinel();
    let Outcome::RanUncertain(uncertain) = doubt(&sentinel, "k").await else { panic!("not in doubt") };
    assert_eq!(uncertain.error, Some(Lied("connection reset")));
    assert_eq!(uncertain.cause.as_str(), "the function failed: connection reset");
    let Outcome::Uncertain(uncertain) = charge(&sentinel, "k").await else { panic!("not uncertain") };
    assert_eq!(uncertain.token, uncertain.token);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_doubt() {
    let sentinel = sentinel();
    let outcome = sentinel.once("k").run(|_| async {
        let nothing: Option<String> = None;
        Ok::<_, Lied>(nothing.expect("a receipt"))
    });
    let Outcome::RanUncertain(uncertain) = outcome.await.unwrap() else { panic!("not in doubt") };
    assert_eq!((uncertain.cause.as_str(), uncertain.error), ("the function panicked: a receipt", None));
    assert!(matches!(charge(&sentinel, "k").await, Outcome::Uncertain(_)));
}

#[tokio::test(start_paused = true)]
async fn a_vouched_release_frees_the_key_and_changes_the_idempotency_key() {
    let sentinel = sentinel();
    let first = idempotency_key(&sentinel, Err(Lied("declined"))).await;
    assert_eq!(state(&sentinel, "k").await, State::Free);
    let second = idempotency_key(&sentinel, Ok(())).await;
    assert_ne!(first, second, "a provider would replay the decline");
    assert_eq!(state(&sentinel, "k").await, State::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_client_names_its_addresses_and_its_worker() {
    let sentinel = sentinel();
    let outcome = sentinel.once("k").run(|run| async move { Ok::<_, Lied>(run.address().to_string()) });
    let Outcome::Completed(address) = outcome.await.unwrap() else { panic!("not completed") };
    assert_eq!(sentinel.address("k").unwrap().to_string(), address);
    let LeaseOutcome::Held(lease) = sentinel.lease("k").acquire().await.unwrap() else { panic!("not held") };
    assert_eq!(&sentinel.lease_address("k").unwrap(), lease.address());
    assert!(sentinel.address("").is_err() && sentinel.lease_address("a\nb").is_err());
    let worker = seen(&sentinel, "k").await.record.unwrap().worker.unwrap();
    assert!(worker.as_str().ends_with(&format!(":{}", std::process::id())), "{worker}");
}

#[tokio::test(start_paused = true)]
async fn the_keys_of_labels_change_when_the_key_of_the_run_does() {
    let sentinel = sentinel();
    let keys = async |answer: Result<(), Lied>| {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let once = sentinel.once("k").nothing_happened_if(|error: &Lied| error.0 == "declined");
        let run = once.run(move |run| async move {
            sender.send([run.idempotency_key_for("book"), run.idempotency_key_for("notify")]).unwrap();
            answer
        });
        assert!(run.await.unwrap().ran());
        receiver.await.unwrap()
    };
    let first = keys(Err(Lied("connection reset"))).await;
    assert_ne!(first[0], first[1]);
    // A reset authorises another run towards the provider, which may know the keys of the first one.
    let taken = sentinel.reconciler("k").operator("ada").reason("asked").reconcile().await.unwrap();
    let sentinel::reconcile::ReconcileOutcome::Taken(held) = taken else { panic!("not taken") };
    let _ = held.accept_overlap().reset_to_claimed().await.unwrap();
    assert_eq!(keys(Err(Lied("declined"))).await, first);
    // That run vouched that nothing happened, so the next one is a new attempt.
    let second = keys(Ok(())).await;
    assert!(second.iter().all(|key| !first.contains(key)));
}

async fn idempotency_key(sentinel: &Sentinel, answer: Result<(), Lied>) -> String {
    let (sender, key) = oneshot::channel();
    let once = sentinel.once("k").nothing_happened_if(|e: &Lied| e.0 == "declined");
    let outcome = once
        .run(move |run| async move {
            sender.send(run.idempotency_key()).unwrap();
            answer
        })
        .await
        .unwrap();
    assert!(matches!(outcome, Outcome::Completed(()) | Outcome::Failed(Failure::NothingHappened(_))));
    key.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_final_failure_is_recorded_and_replayed() {
    let sentinel = sentinel();
    let once = sentinel.once("k").failed_for_good_if(|e: &Lied| e.0 == "no such account");
    let now = once.run(|_| async { Err::<(), _>(Lied("no such account")) }).await.unwrap();
    assert!(matches!(now, Outcome::Failed(Failure::ForGood(Lied("no such account")))));
    let Outcome::Failed(Failure::Replayed(replayed)) = charge(&sentinel, "k").await else { panic!("ran") };
    assert_eq!(replayed.to_string(), "no such account");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_both_rules_select_leaves_the_outcome_unknown() {
    let sentinel = sentinel();
    let once = sentinel.once("k").failed_for_good_if(|_: &Lied| true).nothing_happened_if(|_| true);
    let outcome = once.run(|_| async { Err::<(), _>(Lied("?")) }).await.unwrap();
    assert!(matches!(outcome, Outcome::RanUncertain(_)));
}

#[derive(Debug, PartialEq, Deserialize)]
struct Unencodable;

impl Serialize for Unencodable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("cannot be encoded"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_that_cannot_be_encoded_completes_and_reaches_its_caller() {
    let sentinel = sentinel();
    let run = || sentinel.once("k").run(|_| async { Ok::<_, Lied>(Unencodable) });
    let outcome = run().await.unwrap();
    assert!(
        matches!(outcome, Outcome::CompletedNotStored(Unencodable, NotStored::NotEncodable(_))),
        "{outcome:?}"
    );
    assert_eq!(state(&sentinel, "k").await, State::Completed);
    assert!(matches!(run().await, Err(Error::ResultNotStored(_))));
}

#[tokio::test(start_paused = true)]
async fn a_result_over_the_limit_completes_without_its_bytes() {
    let sentinel = sentinel();
    let run = |limit| {
        let once = sentinel.once("k").codec(Raw).payload_limit(limit);
        once.run(|_| async { Ok::<_, Lied>(Bytes::from(vec![0xff; 101])) })
    };
    let outcome = run(100).await.unwrap();
    let Outcome::CompletedNotStored(bytes, NotStored::TooLarge { bytes: 101, limit: 100 }) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(bytes.len(), 101);
    assert!(
        matches!(run(1000).await, Err(Error::ResultNotStored(_))),
        "a result that was not stored cannot be replayed"
    );
}

#[tokio::test(start_paused = true)]
async fn the_text_of_a_final_failure_is_cut_at_the_limit() {
    let sentinel = sentinel();
    // 13 bytes; the letter of two bytes is not cut in half.
    for (limit, text) in [(13, "no acc\u{f3}unt 7"), (12, "no acc\u{f3}unt "), (7, "no acc"), (0, "")] {
        let key = format!("limit-{limit}");
        let once = sentinel.once(&key).payload_limit(limit).failed_for_good_if(|_: &Lied| true);
        let _ = once.run(|_| async { Err::<(), _>(Lied("no acc\u{f3}unt 7")) }).await.unwrap();
        let result = seen(&sentinel, &key).await.record.unwrap().result.unwrap();
        assert_eq!((&*result.payload.bytes, result.omitted), (text.as_bytes(), limit < 13), "{limit}");
    }
}

/// A store that takes no bytes.
#[derive(Debug)]
struct NoBytes(Arc<dyn CoordinationStore>);

#[async_trait]
impl Layer for NoBytes {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.0
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        match &op {
            Op::Complete(complete) if !complete.result.payload.bytes.is_empty() => {
                Err(StoreError::not_applied(ErrorKind::InvalidRequest, "no bytes are taken here"))
            }
            _ => op.send(&*self.0, address).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_the_store_refuses_are_left_out_and_the_completion_is_recorded() {
    let sentinel = Sentinel::new(Layered(NoBytes(Arc::new(MemoryStore::new()))));
    let outcome = charge(&sentinel, "k").await;
    let Outcome::CompletedNotStored(text, NotStored::Refused(error)) = outcome else { panic!("{outcome:?}") };
    assert!(text == "charged k" && error.kind() == ErrorKind::InvalidRequest, "{error}");
    let result = seen(&sentinel, "k").await.record.unwrap().result.unwrap();
    assert!(result.omitted && result.payload.bytes.is_empty(), "{result:?}");
    let again = sentinel.once("k").run(|_| async { Ok::<_, Lied>(String::new()) }).await;
    assert!(
        matches!(again, Err(Error::ResultNotStored(_))),
        "a result that was not stored cannot be replayed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_function_can_read_how_long_it_may_run() {
    let once = sentinel().once("k").ttl(SECOND).hard_ttl(SECOND * 60);
    let outcome = once.run(|run: Run| async move {
        tokio::time::sleep(SECOND * 10).await;
        Ok::<_, Lied>((
            run.remaining() <= SECOND,
            (SECOND * 49..=SECOND * 50).contains(&run.hard_remaining()),
        ))
    });
    assert!(matches!(outcome.await.unwrap(), Outcome::Completed((true, true))));
}

#[tokio::test(start_paused = true)]
async fn raw_bytes_are_replayed_unchanged() {
    let sentinel = sentinel();
    let bytes: Vec<u8> = (0..=255).collect();
    let given = bytes.clone();
    let once = sentinel.once("k").codec(Raw);
    let _ = once.run(move |_| async move { Ok::<_, Lied>(given) }).await.unwrap();
    let once = sentinel.once("k").codec(Raw);
    let again = once.run(|_| async { Ok::<_, Lied>(Vec::new()) }).await.unwrap();
    assert!(matches!(again, Outcome::Replayed(replayed) if replayed == bytes));
    let once = sentinel.once("k").codec(Raw);
    let again = once.run(|_| async { Ok::<_, Lied>(Bytes::new()) }).await.unwrap();
    assert!(matches!(again, Outcome::Replayed(replayed) if *replayed == *bytes));
}

#[tokio::test(start_paused = true)]
async fn another_request_under_the_same_key_is_an_error_without_the_result() {
    let sentinel = sentinel();
    let pay = |amount: u32| {
        let once = sentinel.once("k").fingerprint(&("invoice", amount));
        once.run(move |_| async move { Ok::<_, Lied>(amount) })
    };
    assert!(matches!(pay(10).await.unwrap(), Outcome::Completed(10)));
    assert!(matches!(pay(10).await.unwrap(), Outcome::Replayed(10)));
    assert!(matches!(pay(11).await, Err(Error::FingerprintMismatch)));
}

#[tokio::test(start_paused = true)]
async fn invalid_input_is_refused_before_anything_is_sent() {
    let sentinel = sentinel();
    let ok = |_| async { Ok::<_, Lied>(()) };
    let long = "k".repeat(513);
    for once in [
        sentinel.once(""),
        sentinel.once(&long),
        sentinel.once("k").ttl(SECOND / 1000),
        sentinel.once("k").ttl(SECOND).hard_ttl(SECOND / 2),
        sentinel.once("k").worker("a\nb"),
        sentinel.once("k").fingerprint_text(""),
    ] {
        assert!(matches!(once.run(ok).await, Err(Error::Invalid(_))));
    }
    assert_eq!(seen(&sentinel, "k").await.record, None);
    assert!(sentinel.clone().namespace("Upper").is_err());
}

#[tokio::test(start_paused = true)]
async fn a_function_outlives_its_caller() {
    let sentinel = sentinel();
    let (open, gate) = oneshot::channel::<()>();
    let call = sentinel.once("k").run(|_| async move {
        gate.await.unwrap();
        Ok::<_, Lied>("done".to_owned())
    });
    assert!(tokio::time::timeout(SECOND, call).await.is_err(), "the caller goes away");
    assert_eq!(state(&sentinel, "k").await, State::Executing);
    open.send(()).unwrap();
    let joined = sentinel.once("k").wait(SECOND * 60).run(|_| async { Ok::<_, Lied>("second".to_owned()) });
    assert!(matches!(joined.await.unwrap(), Outcome::Replayed(text) if text == "done"));
}

#[tokio::test(start_paused = true)]
async fn a_function_can_choose_what_is_recorded() {
    let sentinel = sentinel();
    let recorded =
        RecordedResult { code: Some(7), ..RecordedResult::success(Payload::new("text/plain", "hi")) };
    let given = recorded.clone();
    let run = |ending| sentinel.once::<Label>("k").run_recorded(move |_| async move { ending });
    let first = run(Ending::Success(given.clone(), given)).await.unwrap();
    assert!(matches!(first, Outcome::Completed(r) if r == recorded));
    let again = run(Ending::Unknown(Label::lossy("not run"), None)).await.unwrap();
    assert!(matches!(again, Outcome::Replayed(r) if r == recorded));
}

#[tokio::test(start_paused = true)]
async fn past_its_retention_a_key_is_a_new_attempt() {
    let sentinel = sentinel();
    let run = |n: u32| {
        let once = sentinel.once("k").retention(SECOND * 10);
        once.run(move |run| async move { Ok::<_, Lied>((n, run.idempotency_key())) })
    };
    let Outcome::Completed((1, first)) = run(1).await.unwrap() else { panic!("did not run") };
    tokio::time::advance(SECOND * 10 - SECOND / 1000).await;
    assert!(matches!(run(2).await.unwrap(), Outcome::Replayed((1, _))));
    tokio::time::advance(SECOND / 1000).await;
    let Outcome::Completed((3, second)) = run(3).await.unwrap() else { panic!("did not run again") };
    assert_ne!(first, second);
}

#[tokio::test(start_paused = true)]
async fn a_late_result_of_the_worker_that_holds_the_grant_ends_the_doubt() {
    let sentinel = sentinel();
    let (open, gate) = oneshot::channel::<()>();
    let slow = sentinel.once("k").ttl(SECOND).run(|run: Run| async move {
        gate.await.unwrap();
        Ok::<_, Lied>(run.lost().is_some())
    });
    let slow = tokio::spawn(slow);
    tokio::time::sleep(SECOND * 2).await;
    assert!(matches!(charge(&sentinel, "k").await, Outcome::Uncertain(_)));
    open.send(()).unwrap();
    let notified_of_its_loss = true;
    assert!(matches!(slow.await.unwrap().unwrap(), Outcome::Completed(lost) if lost == notified_of_its_loss));
}

#[tokio::test(start_paused = true)]
async fn a_function_is_superseded_by_a_decision_of_an_operator() {
    let sentinel = sentinel();
    let (open, gate) = oneshot::channel::<()>();
    let slow = tokio::spawn(sentinel.once("k").ttl(SECOND).run(|_| async move {
        gate.await.unwrap();
        Ok::<_, Lied>("mine".to_owned())
    }));
    tokio::time::sleep(SECOND * 2).await;
    let Ok(sentinel::reconcile::ReconcileOutcome::Taken(held)) = sentinel.reconciler("k").reconcile().await
    else {
        panic!("not taken")
    };
    let _ = held.force_complete(&"theirs").await.unwrap();
    open.send(()).unwrap();
    let Outcome::Superseded(Ok(mine), current) = slow.await.unwrap().unwrap() else {
        panic!("not superseded")
    };
    assert_eq!((mine.as_str(), current.state), ("mine", State::Completed));
    assert!(matches!(charge(&sentinel, "k").await, Outcome::Replayed(text) if text == "theirs"));
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_is_over_before_the_function_starts_is_given_back() {
    let sentinel = sentinel();
    let late = sentinel.once("k").ttl(SECOND).prepare(|_| async {
        // The preparation ends within the lease, and nothing is left of it when it began.
        tokio::time::sleep(SECOND * 3).await;
        Ok(())
    });
    let outcome = late.run(|_, ()| async { Ok::<_, Lied>(()) }).await.unwrap();
    assert!(matches!(outcome, Outcome::NotRun(NotRun::Expired)));
    assert!(matches!(charge(&sentinel, "k").await, Outcome::Completed(_)));
}
