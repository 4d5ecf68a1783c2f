//! A store that refuses requests or is unreachable while a function runs or after it has ended.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sentinel::drain::Work;
use sentinel::kernel::{Op, Reply};
use sentinel::outcome::{Lost, NotRun};
use sentinel::prelude::*;
use sentinel::record::{Address, Event, Kind, State};
use sentinel::store::operation::{Beat, HeartbeatReply, Stamped};
use sentinel::store::{
    Applied, Description, ErrorKind, Inspection, List, Listing, Purge, Purged, StoreError,
};
use sentinel_conformance::{Layer, Layered};
use tokio::time::{Instant, sleep, timeout};

use crate::{Lied, SECOND, charge, state};

/// Answers the operations that are named with an error, for as long as it is set.
#[derive(Debug)]
pub(crate) struct Refusing {
    store: Arc<dyn CoordinationStore>,
    error: Mutex<Option<StoreError>>,
    operations: &'static [&'static str],
    pub(crate) refused: AtomicUsize,
    reads_too: AtomicBool,
    /// The store is described as outside of the process.
    pub(crate) elsewhere: AtomicBool,
}

pub(crate) const ALL: &[&str] = &["claim", "begin", "heartbeat", "complete", "cancel", "release", "abandon"];

impl Refusing {
    pub(crate) fn new(operations: &'static [&'static str]) -> Arc<Layered<Self>> {
        Arc::new(Layered(Self {
            store: Arc::new(MemoryStore::new()),
            error: Mutex::default(),
            operations,
            refused: AtomicUsize::default(),
            reads_too: AtomicBool::default(),
            elsewhere: AtomicBool::default(),
        }))
    }

    pub(crate) fn refuse(&self, error: StoreError) {
        *self.error.lock().unwrap() = Some(error);
    }

    pub(crate) fn admit(&self) {
        *self.error.lock().unwrap() = None;
    }

    fn answer_read(&self) -> Result<(), StoreError> {
        let refuses = self.reads_too.load(Ordering::SeqCst);
        if refuses { self.answer("claim").map_err(|_| lost_reply()) } else { Ok(()) }
    }

    fn answer(&self, operation: &str) -> Result<(), StoreError> {
        let error = self.error.lock().unwrap().clone().filter(|_| self.operations.contains(&operation));
        error.map_or(Ok(()), |error| {
            self.refused.fetch_add(1, Ordering::SeqCst);
            Err(error)
        })
    }
}

#[async_trait]
impl Layer for Refusing {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.store
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        self.answer(op.name())?;
        op.send(&*self.store, address).await
    }

    async fn on_heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        self.answer("heartbeat")?;
        self.store.heartbeat(beats).await
    }

    fn on_describe(&self) -> Description {
        let in_process = !self.elsewhere.load(Ordering::SeqCst);
        Description { in_process, ..self.store.describe() }
    }

    async fn on_purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        self.answer_read()?;
        self.store.purge(purge).await
    }

    async fn on_inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        self.answer_read()?;
        self.store.inspect(address).await
    }

    async fn on_list(&self, list: &List) -> Result<Listing, StoreError> {
        self.answer_read()?;
        self.store.list(list).await
    }

    async fn on_history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.answer_read()?;
        self.store.history(address, limit).await
    }
}

fn lost_reply() -> StoreError {
    StoreError::ambiguous(ErrorKind::LostReply, "the server ended the connection")
}

/// The errors of a server that may recover: each proves that nothing was applied, or leaves it open.
fn passing() -> Vec<StoreError> {
    [
        ErrorKind::Unreachable,
        ErrorKind::Busy,
        ErrorKind::DeploymentRefused,
        ErrorKind::PossibleDataLoss,
        ErrorKind::DataLoss,
        ErrorKind::Corrupt,
        ErrorKind::BrokenStore,
    ]
    .into_iter()
    .map(|error_kind| StoreError::not_applied(error_kind, "not now"))
    .chain([lost_reply()])
    .collect()
}

/// A call whose function takes three seconds, while the store refuses from the first second on.
async fn run_into(
    store: &Arc<Layered<Refusing>>,
    error: StoreError,
    ends: Result<&'static str, Lied>,
) -> Outcome<String, Lied> {
    let sentinel = Sentinel::new(store.clone());
    let once = sentinel.once("k").ttl(SECOND * 30).nothing_happened_if(|e: &Lied| e.0 == "declined");
    let refusing = store.clone();
    once.run(move |_| async move {
        sleep(SECOND).await;
        refusing.0.refuse(error);
        sleep(SECOND * 2).await;
        ends.map(str::to_owned)
    })
    .await
    .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_result_is_recorded_after_a_refusal_shorter_than_the_retry_timeout() {
    for error in passing() {
        let store = Refusing::new(ALL);
        let later = store.clone();
        tokio::spawn(async move {
            sleep(SECOND * 7).await;
            later.0.admit();
        });
        let outcome = run_into(&store, error.clone(), Ok("charged")).await;
        assert!(matches!(outcome, Outcome::Completed(ref text) if text == "charged"), "{error}: {outcome:?}");
        assert_eq!(state(&Sentinel::new(store), "k").await, State::Completed, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_is_sent_in_the_background_until_ten_minutes_after_the_hard_deadline() {
    for error in passing() {
        let store = Refusing::new(ALL);
        let sentinel = Sentinel::new(store.clone());
        let outcome = run_into(&store, error.clone(), Ok("charged")).await;
        assert!(matches!(outcome, Outcome::Unconfirmed(Ok(_))), "{error}: {outcome:?}");
        // The hard deadline comes 30 s after the claim.
        sleep(SECOND * 300).await;
        assert_eq!(state(&sentinel, "k").await, State::Executing, "{error}");
        store.0.admit();
        sleep(SECOND * 5).await;
        assert_eq!(state(&sentinel, "k").await, State::Completed, "{error}");
        let again = sentinel.once("k").run(|_| async { Ok::<_, Lied>(String::new()) }).await.unwrap();
        assert!(matches!(again, Outcome::Replayed(text) if text == "charged"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_vouched_release_and_an_abandon_are_sent_in_the_background_too() {
    for (ends, end) in [("declined", State::Free), ("reset by peer", State::Executing)] {
        for error in passing() {
            let store = Refusing::new(ALL);
            let sentinel = Sentinel::new(store.clone());
            let outcome = run_into(&store, error.clone(), Err(Lied(ends))).await;
            assert!(matches!(outcome, Outcome::Failed(_) | Outcome::RanUncertain(_)), "{outcome:?}");
            sleep(SECOND * 120).await;
            let before = crate::seen(&sentinel, "k").await.record.unwrap();
            assert_eq!((before.state, &before.doubt), (State::Executing, &None), "{ends}, {error}");
            store.0.admit();
            sleep(SECOND * 5).await;
            let after = crate::seen(&sentinel, "k").await.record.unwrap();
            assert_eq!(
                (after.state, after.doubt.is_some()),
                (end, end == State::Executing),
                "{ends}, {error}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_is_sent_until_the_store_has_it() {
    let store = Refusing::new(&["begin", "cancel"]);
    let sentinel = Sentinel::new(store.clone());
    store.0.refuse(StoreError::not_applied(ErrorKind::DeploymentRefused, "read only"));
    let once = sentinel.once("k").ttl(SECOND * 3600).prepare(|_| async { Ok::<_, Lied>(()) });
    let outcome = once.run(|_, ()| async { Ok(()) }).await.unwrap();
    assert!(matches!(outcome, Outcome::NotRun(NotRun::Store(_))), "{outcome:?}");
    sleep(SECOND * 60).await;
    assert_eq!(state(&sentinel, "k").await, State::Claimed);
    store.0.admit();
    sleep(SECOND * 5).await;
    assert_eq!(state(&sentinel, "k").await, State::Free);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_cannot_pass_ends_the_retries_and_is_reported() {
    for error_kind in [ErrorKind::NotInitialised, ErrorKind::NewerSchema, ErrorKind::Closed] {
        let store = Refusing::new(&["complete"]);
        let began = Instant::now();
        let sentinel = Sentinel::new(store.clone());
        let refusing = store.clone();
        let once = sentinel.once("k").run(move |_| async move {
            refusing.0.refuse(StoreError::not_applied(error_kind, "for good"));
            Ok::<_, Lied>(())
        });
        assert!(matches!(once.await.unwrap(), Outcome::Unconfirmed(Ok(()))));
        assert!(began.elapsed() < SECOND && store.0.refused.load(Ordering::SeqCst) == 1, "{error_kind}");
        let drained = sentinel.drain(SECOND).await;
        assert!(began.elapsed() < SECOND, "nothing is waited for");
        let [left] = &drained.unfinished[..] else { panic!("{drained:?}") };
        assert!(left.given_up && left.work == Work::Result, "{left:?}");
        assert_eq!(left.error.as_ref().map(StoreError::kind), Some(error_kind));
        assert!(left.to_string().contains("given up") && left.to_string().contains("for good"), "{left}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_does_not_cancel_an_execution_before_its_hard_deadline() {
    for error in passing() {
        let store = Refusing::new(ALL);
        let sentinel = Sentinel::new(store.clone());
        let refusing = store.clone();
        let began = Instant::now();
        let once = sentinel.once("k").ttl(SECOND * 10).hard_ttl(SECOND * 3600);
        let outcome = once.run(move |run: Run| async move {
            refusing.0.refuse(error);
            timeout(SECOND * 60, run.contact_lost().cancelled()).await.unwrap();
            assert!(began.elapsed() >= SECOND * 10 && began.elapsed() < SECOND * 11, "{:?}", began.elapsed());
            sleep(SECOND * 300).await;
            assert!(run.lost().is_none() && !run.cancelled().is_cancelled());
            refusing.0.admit();
            sleep(SECOND * 5).await;
            assert!(!run.remaining().is_zero() && !run.contact_lost().is_cancelled(), "contact is back");
            Ok::<_, Lied>(7)
        });
        assert!(matches!(outcome.await.unwrap(), Outcome::Completed(7)));
    }
}

#[tokio::test(start_paused = true)]
async fn the_authority_of_an_execution_ends_at_the_hard_deadline_at_the_latest() {
    let store = Refusing::new(ALL);
    let sentinel = Sentinel::new(store.clone());
    let began = Instant::now();
    let once = sentinel.once("k").ttl(SECOND * 10).hard_ttl(SECOND * 60);
    let refusing = store.clone();
    let outcome = once.run(move |run: Run| async move {
        refusing.0.refuse(lost_reply());
        timeout(SECOND * 120, run.cancelled().cancelled()).await.unwrap();
        refusing.0.admit();
        Ok::<_, Lied>((run.lost() == Some(Lost::HardDeadline), began.elapsed() <= SECOND * 60))
    });
    assert!(matches!(outcome.await.unwrap(), Outcome::Completed((true, true))));
    assert!(began.elapsed() >= SECOND * 59, "not before");
}

#[tokio::test(start_paused = true)]
async fn an_operator_who_took_the_key_during_an_outage_ends_the_authority_when_it_is_over() {
    let store = Refusing::new(&["heartbeat"]);
    let sentinel = Sentinel::new(store.clone());
    let operator = sentinel.clone();
    let refusing = store.clone();
    let once = sentinel.once("k").ttl(SECOND * 10).hard_ttl(SECOND * 3600);
    let outcome = once.run(move |run: Run| async move {
        refusing.0.refuse(lost_reply());
        timeout(SECOND * 60, run.contact_lost().cancelled()).await.unwrap();
        let taken = operator.reconciler("k").reconcile().await.unwrap();
        assert!(matches!(taken, sentinel::reconcile::ReconcileOutcome::Taken(_)));
        sleep(SECOND * 5).await;
        assert!(run.lost().is_none(), "the worker cannot know it yet");
        refusing.0.admit();
        run.cancelled().cancelled().await;
        assert!(matches!(run.lost(), Some(Lost::Superseded(_))), "{:?}", run.lost());
        Ok::<_, Lied>(())
    });
    assert!(matches!(outcome.await.unwrap(), Outcome::Superseded(Ok(()), _)));
}

#[tokio::test(start_paused = true)]
async fn an_outage_ends_a_lease_and_a_preparation_at_their_local_deadline() {
    let store = Refusing::new(ALL);
    let sentinel = Sentinel::new(store.clone());
    let request = sentinel.lease("l").ttl(SECOND * 10).hard_ttl(SECOND * 3600);
    let LeaseOutcome::Held(lease) = request.acquire().await.unwrap() else { panic!("not held") };
    let (began, refusing) = (Instant::now(), store.clone());
    store.0.refuse(lost_reply());
    lease.cancelled().cancelled().await;
    assert_eq!(lease.lost(), Some(Lost::HeartbeatTimeout));
    assert!(began.elapsed() <= SECOND * 10);
    store.0.admit();

    let once = sentinel.once("k").ttl(SECOND * 10).hard_ttl(SECOND * 3600);
    let once = once.prepare(move |run: Run| async move {
        refusing.0.refuse(lost_reply());
        run.cancelled().cancelled().await;
        refusing.0.admit();
        Ok(())
    });
    let outcome = once.run(|_, ()| async { Ok::<_, Lied>(()) }).await.unwrap();
    assert!(
        matches!(outcome, Outcome::NotRun(NotRun::Expired)),
        "another call may have taken it over: {outcome:?}"
    );
}

/// A call that waits for a holder, who needs 20 s, while the store refuses for a while.
async fn wait_through(error: StoreError, away: Duration) -> Outcome<String, Lied> {
    let store = Refusing::new(&["claim", "heartbeat"]);
    store.0.reads_too.store(true, Ordering::SeqCst);
    let sentinel = Sentinel::new(store.clone());
    let holder = sentinel.once("k").ttl(SECOND * 5).hard_ttl(SECOND * 3600);
    tokio::spawn(holder.run(|_| async {
        sleep(SECOND * 20).await;
        Ok::<_, Lied>("theirs".to_owned())
    }));
    sleep(SECOND).await;
    let waits = sentinel.once("k").wait(SECOND * 60).run(|_| async { Ok::<_, Lied>("ours".to_owned()) });
    let waiting = tokio::spawn(waits);
    sleep(SECOND).await;
    store.0.refuse(error);
    sleep(away).await;
    store.0.admit();
    waiting.await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_wait_continues_while_the_store_is_unreachable() {
    let errors = [
        StoreError::not_applied(ErrorKind::Unreachable, "connection refused"),
        StoreError::not_applied(ErrorKind::DeploymentRefused, "read only"),
        StoreError::not_applied(ErrorKind::Busy, "locked"),
        lost_reply(),
    ];
    for error in errors {
        let outcome = wait_through(error.clone(), SECOND * 3).await;
        assert!(matches!(outcome, Outcome::Replayed(ref text) if text == "theirs"), "{error}: {outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_begins_while_the_store_is_unreachable_continues_until_its_deadline() {
    for error_kind in [ErrorKind::Unreachable, ErrorKind::DeploymentRefused] {
        let store = Refusing::new(ALL);
        store.0.refuse(StoreError::not_applied(error_kind, "starting up"));
        let sentinel = Sentinel::new(store.clone());
        let later = store.clone();
        tokio::spawn(async move {
            sleep(SECOND * 30).await;
            later.0.admit();
        });
        let wait = |at_most| sentinel.once("k").wait(at_most).run(|_| async { Ok::<_, Lied>(7) });
        let began = Instant::now();
        let Outcome::NotRun(NotRun::Store(error)) = wait(SECOND * 20).await.unwrap() else { panic!("ran") };
        assert!(began.elapsed() >= SECOND * 20 && error.applied() == Applied::No, "{error}");
        assert!(matches!(wait(SECOND * 20).await.unwrap(), Outcome::Completed(7)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_needs_an_operator_ends_a_wait() {
    for error_kind in [ErrorKind::PossibleDataLoss, ErrorKind::DataLoss, ErrorKind::NotInitialised] {
        let store = Refusing::new(ALL);
        store.0.refuse(StoreError::not_applied(error_kind, "an operator must decide"));
        let began = Instant::now();
        let once = Sentinel::new(store).once("k").wait(SECOND * 60).run(|_| async { Ok::<_, Lied>(()) });
        assert!(matches!(once.await.unwrap(), Outcome::NotRun(NotRun::Store(_))));
        assert!(began.elapsed() < SECOND, "{error_kind}");
    }
}

/// Grants a claim and loses its reply, and then answers nothing for longer than the ttl.
#[tokio::test(start_paused = true)]
async fn a_waiting_call_claims_again_after_the_lease_of_its_unknown_grant() {
    let store = Refusing::new(&["begin"]);
    let lossy = Arc::new(sentinel_conformance::Faulty::new(
        store.clone(),
        sentinel_conformance::FaultPlan::none().every("claim", sentinel_conformance::Fault::LoseReply),
    ));
    let sentinel = Sentinel::new(lossy.clone());
    tokio::spawn(async move {
        sleep(SECOND * 15).await;
        lossy.then(|_| sentinel_conformance::FaultPlan::none());
    });
    let once = sentinel.once("k").ttl(SECOND * 5).wait(SECOND * 60);
    let outcome = once.run(|_| async { Ok::<_, Lied>(7) }).await.unwrap();
    assert!(matches!(outcome, Outcome::Completed(7)), "{outcome:?}");
    assert!(matches!(charge(&Sentinel::new(store), "other").await, Outcome::Completed(_)));
}

#[tokio::test(start_paused = true)]
async fn a_read_is_never_reported_as_possibly_carried_out() {
    let store = Refusing::new(&["claim"]);
    store.0.reads_too.store(true, Ordering::SeqCst);
    store.0.refuse(lost_reply());
    let sentinel = Sentinel::new(store);
    let errors = [
        sentinel.inspect(Kind::Execution, "k").await.map(drop).unwrap_err(),
        sentinel.history(Kind::Execution, "k", 9).await.map(drop).unwrap_err(),
        sentinel.list(Kind::Lease, None, None, 9).await.map(drop).unwrap_err(),
        sentinel.uncertain(None, 9).await.map(drop).unwrap_err(),
        sentinel.purge(true).await.map(drop).unwrap_err(),
        sentinel.reconciler("k").reconcile().await.map(drop).unwrap_err(),
    ];
    for error in errors.map(|error| error.to_string()) {
        assert!(error.contains("nothing was changed"), "{error}");
        assert!(!error.contains("may have been carried out"), "{error}");
    }
    let error = sentinel.purge(false).await.unwrap_err().to_string();
    assert!(error.contains("may have been carried out"), "a purge is no read: {error}");
}
