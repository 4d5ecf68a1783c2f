//! `Sentinel::wait`: waiting for another call's run without a claim.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sentinel::kernel::{Op, Reply};
use sentinel::prelude::*;
use sentinel::reconcile::ReconcileOutcome;
use sentinel::record::{Address, Fingerprint, Payload, Record, RecordedResult, State, Verdict};
use sentinel::store::operation::Stamped;
use sentinel::store::{ErrorKind, Inspection, StoreError};
use sentinel::wait::{CompletedExecution, Waited};
use sentinel_conformance::{Layer, Layered};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::wait::start;
use crate::{Lied, SECOND, charge, seen, sentinel};

async fn wait(sentinel: &Sentinel, at_most: Duration) -> Waited {
    sentinel.wait("k").at_most(at_most).await.unwrap()
}

fn receipt(waited: &Waited) -> &[u8] {
    let Waited::Completed(completed) = waited else { panic!("{waited:?}") };
    &completed.result.payload.bytes
}

#[tokio::test(start_paused = true)]
async fn a_completed_run_is_returned_with_its_fingerprint_and_nothing_is_changed() {
    let sentinel = sentinel();
    let once = sentinel.once::<Lied>("k").fingerprint_text("19.99 EUR");
    let _ = once.run(|_| async { Ok("receipt".to_owned()) }).await.unwrap();
    let before = seen(&sentinel, "k").await.record.unwrap();
    let Waited::Completed(completed) = sentinel.wait("k").await.unwrap() else { panic!("not completed") };
    assert_eq!(&completed.result.payload.bytes[..], b"\"receipt\"");
    assert_eq!((completed.result.verdict, completed.token), (Verdict::Success, before.token));
    let [same, other] = ["19.99 EUR", "20 EUR"].map(|text| Fingerprint::new(text).unwrap());
    assert!(completed.is_of(Some(&same)) && completed.is_of(None) && !completed.is_of(Some(&other)));
    assert!(CompletedExecution { fingerprint: None, ..completed }.is_of(Some(&other)));
    assert_eq!(seen(&sentinel, "k").await.record.unwrap(), before);
}

#[tokio::test(start_paused = true)]
async fn a_key_without_a_run_stays_claimable() {
    let sentinel = sentinel();
    assert_eq!(wait(&sentinel, SECOND * 60).await, Waited::Absent);
    assert!(seen(&sentinel, "k").await.record.is_none(), "no record was made");
    // Free after a vouched release.
    let end = start(&sentinel, "k");
    tokio::task::yield_now().await;
    end.send(Err(Lied("nothing"))).unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(wait(&sentinel, SECOND * 60).await, Waited::Absent);
    // Completed, and past its retention.
    let once = sentinel.once::<Lied>("k").retention(SECOND);
    assert!(matches!(once.run(|_| async { Ok(()) }).await.unwrap(), Outcome::Completed(())));
    assert!(matches!(wait(&sentinel, Duration::ZERO).await, Waited::Completed(_)));
    tokio::time::sleep(SECOND).await;
    assert_eq!(wait(&sentinel, SECOND * 60).await, Waited::Absent);
    assert!(matches!(charge(&sentinel, "k").await, Outcome::Completed(_)));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_lapses_before_it_began_ends_the_wait() {
    let sentinel = sentinel();
    let stuck =
        sentinel.once::<Lied>("k").ttl(SECOND * 5).prepare(|_| std::future::pending::<Result<(), _>>());
    let stuck = tokio::spawn(stuck.run(|_, ()| async { Ok(()) }));
    tokio::task::yield_now().await;
    let Waited::InProgress(claim) = wait(&sentinel, SECOND).await else { panic!("not in progress") };
    assert_eq!(claim.state, State::Claimed);
    assert_eq!(wait(&sentinel, SECOND * 60).await, Waited::Absent);
    stuck.abort();
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_run_of_this_or_another_process() {
    let store = MemoryStore::new();
    let (theirs, ours) = (Sentinel::new(store.clone()), Sentinel::new(store));
    for (key, waiter) in [("k", theirs.clone()), ("k", ours)] {
        let end = start(&theirs, key);
        tokio::task::yield_now().await;
        let waiting = tokio::spawn(async move { wait(&waiter, SECOND * 60).await });
        tokio::time::sleep(SECOND).await;
        assert!(!waiting.is_finished());
        end.send(Err(Lied("nothing"))).unwrap();
        assert_eq!(waiting.await.unwrap(), Waited::Absent, "its function vouched that nothing happened");
    }
    let end = start(&theirs, "k");
    tokio::task::yield_now().await;
    let waiter = theirs.clone();
    let waiting = tokio::spawn(async move { wait(&waiter, SECOND * 60).await });
    tokio::time::sleep(SECOND).await;
    let ended = Instant::now();
    end.send(Ok("receipt".to_owned())).unwrap();
    assert_eq!(receipt(&waiting.await.unwrap()), b"\"receipt\"");
    assert!(ended.elapsed() < SECOND / 10, "a run of this process wakes its waiters");
}

#[tokio::test(start_paused = true)]
async fn the_time_ends_the_wait() {
    let sentinel = sentinel();
    let end = start(&sentinel, "k");
    tokio::task::yield_now().await;
    let began = Instant::now();
    for at_most in [Duration::ZERO, SECOND] {
        let Waited::InProgress(run) = wait(&sentinel, at_most).await else { panic!("not in progress") };
        assert!(run.state == State::Executing && run.remaining <= SECOND * 5);
    }
    assert_eq!(began.elapsed(), SECOND);
    drop(end);
}

#[tokio::test(start_paused = true)]
async fn the_wait_of_a_policy_is_its_default() {
    let sentinel = sentinel().policy(Policy::new().wait(SECOND * 3));
    let _end = start(&sentinel, "k");
    tokio::task::yield_now().await;
    let began = Instant::now();
    assert!(matches!(sentinel.wait("k").await.unwrap(), Waited::InProgress(_)));
    assert_eq!(began.elapsed(), SECOND * 3);
}

#[tokio::test(start_paused = true)]
async fn a_run_with_an_unknown_outcome_ends_the_wait() {
    let sentinel = sentinel();
    let _never_ends = start(&sentinel, "k");
    tokio::task::yield_now().await;
    let Waited::Uncertain(run) = wait(&sentinel, SECOND * 60).await else { panic!("not uncertain") };
    assert_eq!(run.token, seen(&sentinel, "k").await.record.unwrap().token);
    let taken = sentinel.reconciler("k").operator("ada").reason("asking").reconcile().await.unwrap();
    let ReconcileOutcome::Taken(held) = taken else { panic!("{taken:?}") };
    let Waited::Reconciling(by) = wait(&sentinel, SECOND * 60).await else { panic!("not reconciling") };
    assert_eq!(by.operator.as_str(), "ada");
    // What an operator recorded is returned as what a worker recorded.
    let _ = held.force_complete(&"receipt 7").await.unwrap();
    assert_eq!(receipt(&wait(&sentinel, SECOND * 60).await), b"\"receipt 7\"");
}

#[tokio::test(start_paused = true)]
async fn an_invalid_key_is_refused() {
    assert!(matches!(sentinel().wait("").await, Err(sentinel::Error::Invalid(_))));
}

#[tokio::test(start_paused = true)]
async fn draining_ends_the_wait_with_what_was_read_last() {
    let sentinel = sentinel();
    let _end = start(&sentinel, "k");
    tokio::task::yield_now().await;
    let waiter = sentinel.clone();
    let waiting = tokio::spawn(async move { wait(&waiter, SECOND * 3_600).await });
    tokio::time::sleep(SECOND).await;
    let _ = sentinel.drain(Duration::ZERO).await;
    let began = Instant::now();
    assert!(matches!(waiting.await.unwrap(), Waited::InProgress(_)));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// A store of which the first reads may be wrong, and which counts reads and requests.
#[derive(Debug)]
struct Failover {
    store: MemoryStore,
    inner: Arc<dyn CoordinationStore>,
    /// What a read returned before the failover: a record that the new primary does not have.
    undone: Mutex<Option<Record>>,
    /// What reads return until it is cleared: they come from a standby that is behind.
    behind: Mutex<Option<Record>>,
    reads: AtomicU32,
    requests: AtomicU32,
    unreachable: AtomicBool,
}

impl Failover {
    fn new() -> Arc<Layered<Self>> {
        let store = MemoryStore::new();
        let inner = Arc::new(store.clone());
        let (undone, behind, reads, requests, unreachable) = Default::default();
        Arc::new(Layered(Self { store, inner, undone, behind, reads, requests, unreachable }))
    }

    fn answers(&self) -> Result<(), StoreError> {
        let error = || StoreError::not_applied(ErrorKind::Unreachable, "it restarts".to_owned());
        if self.unreachable.load(Ordering::SeqCst) { Err(error()) } else { Ok(()) }
    }

    fn counts(&self) -> (u32, u32) {
        (self.reads.load(Ordering::SeqCst), self.requests.load(Ordering::SeqCst))
    }
}

#[async_trait]
impl Layer for Failover {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.inner
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        self.answers()?;
        op.send(&self.store, address).await
    }

    async fn on_inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.answers()?;
        let found = self.store.inspect(address).await?;
        let undone = self.undone.lock().unwrap().take();
        let behind = self.behind.lock().unwrap().clone();
        Ok(Inspection { record: undone.or(behind).or(found.record), ..found })
    }
}

/// The record as it would be if its run had completed.
fn completed(record: Record) -> Record {
    let result = RecordedResult::success(Payload::new(Payload::JSON, "\"lost\""));
    Record {
        state: State::Completed,
        completed_at: Some(record.last_now),
        result: Some(result),
        rev: record.rev + 1,
        ..record
    }
}

#[tokio::test(start_paused = true)]
async fn a_completion_that_a_failover_undid_is_not_returned() {
    let store = Failover::new();
    let sentinel = Sentinel::new(store.clone());
    let end = start(&sentinel, "k");
    tokio::task::yield_now().await;
    let before = seen(&sentinel, "k").await.record.unwrap();
    *store.0.undone.lock().unwrap() = Some(completed(before.clone()));
    // The run still executes, as the claim under its own id finds without changing the record.
    assert!(matches!(wait(&sentinel, Duration::ZERO).await, Waited::InProgress(_)));
    assert_eq!(seen(&sentinel, "k").await.record.unwrap(), before);
    end.send(Ok("receipt".to_owned())).unwrap();
    assert_eq!(receipt(&wait(&sentinel, SECOND * 60).await), b"\"receipt\"");
}

#[tokio::test(start_paused = true)]
async fn a_completion_of_a_record_that_is_gone_leaves_the_key_free() {
    let store = Failover::new();
    let sentinel = Sentinel::new(store.clone());
    let other = Sentinel::new(MemoryStore::new());
    let _ = charge(&other, "k").await;
    *store.0.undone.lock().unwrap() = seen(&other, "k").await.record;
    assert_eq!(wait(&sentinel, Duration::ZERO).await, Waited::Absent);
    // A claim of ours that came upon no record is withdrawn.
    assert!(sentinel.drain(SECOND).await.is_complete());
    assert_eq!(seen(&sentinel, "k").await.record.unwrap().state, State::Free);
    let after = Sentinel::new(store.0.store.clone());
    assert!(matches!(charge(&after, "k").await, Outcome::Completed(_)));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_restarts_does_not_end_the_wait() {
    let store = Failover::new();
    let theirs = Sentinel::new(store.0.store.clone());
    let sentinel = Sentinel::new(store.clone());
    let end = start(&theirs, "k");
    tokio::task::yield_now().await;
    store.0.unreachable.store(true, Ordering::SeqCst);
    let at_once = sentinel.wait("k").await.unwrap_err();
    assert!(matches!(at_once, sentinel::Error::Store(error) if error.kind() == ErrorKind::Unreachable));
    let began = Instant::now();
    assert!(sentinel.wait("k").at_most(SECOND).await.is_err());
    assert_eq!(began.elapsed(), SECOND);
    let waiter = sentinel.clone();
    let waiting = tokio::spawn(async move { wait(&waiter, SECOND * 60).await });
    tokio::time::sleep(SECOND * 2).await;
    assert!(!waiting.is_finished());
    store.0.unreachable.store(false, Ordering::SeqCst);
    end.send(Ok("receipt".to_owned())).unwrap();
    assert_eq!(receipt(&waiting.await.unwrap()), b"\"receipt\"");
}

#[tokio::test(start_paused = true)]
async fn thousands_of_callers_share_the_watcher_and_the_reads() {
    const CALLERS: u32 = 5_000;
    let store = Failover::new();
    let (theirs, ours) = (Sentinel::new(store.0.store.clone()), Sentinel::new(store.clone()));
    let (end, ended) = oneshot::channel();
    let run = theirs.once("k").ttl(SECOND * 5).hard_ttl(SECOND * 60);
    let run = tokio::spawn(run.run(|_| async { ended.await.map_err(|_| Lied("gone")) }));
    tokio::task::yield_now().await;
    let waiting: Vec<_> = (0..CALLERS)
        .map(|_| {
            let waiter = ours.clone();
            tokio::spawn(async move { wait(&waiter, SECOND * 60).await })
        })
        .collect();
    tokio::time::sleep(SECOND).await;
    let (reads, _) = store.0.counts();
    tokio::time::sleep(SECOND * 10).await;
    let (later, requests) = store.0.counts();
    assert!((10..=60).contains(&(later - reads)), "{} polls in 10 s", later - reads);
    assert_eq!(requests, 0, "no claim was sent while it ran");
    end.send("receipt".to_owned()).unwrap();
    for waiting in waiting {
        assert_eq!(receipt(&waiting.await.unwrap()), b"\"receipt\"");
    }
    assert!(matches!(run.await.unwrap().unwrap(), Outcome::Completed(_)));
    let (after, requests) = store.0.counts();
    assert!(after - later <= 5, "{} reads for {CALLERS} callers when it had ended", after - later);
    assert_eq!(requests, 1, "one replay for all of them");
}

#[tokio::test(start_paused = true)]
async fn callers_that_claim_and_callers_that_wait_share_a_watcher() {
    let store = Failover::new();
    let (theirs, ours) = (Sentinel::new(store.0.store.clone()), Sentinel::new(store.clone()));
    let _never_ends = start(&theirs, "k");
    tokio::task::yield_now().await;
    let claims = ours.once::<Lied>("k").wait(SECOND * 60);
    let claims = tokio::spawn(async move { claims.run(|_| async { Ok(()) }).await.unwrap() });
    tokio::time::sleep(SECOND).await;
    let (alone, _) = store.0.counts();
    let waiter = ours.clone();
    let waits = tokio::spawn(async move { wait(&waiter, SECOND * 60).await });
    tokio::time::sleep(SECOND).await;
    let (both, _) = store.0.counts();
    assert!(both - alone <= 5, "{} reads in a second, of one watcher and a caller", both - alone);
    assert!(matches!(claims.await.unwrap(), Outcome::Uncertain(_)));
    assert!(matches!(waits.await.unwrap(), Waited::Uncertain(_)));
}

/// One answer ends the queue of those who claim, and its watcher. A caller of `wait` that does not get that answer goes
/// on with another watcher.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_queue_does_not_strand_a_caller_of_wait() {
    let store = Failover::new();
    let (theirs, ours) = (Sentinel::new(store.0.store.clone()), Sentinel::new(store.clone()));
    let _never_ends = start(&theirs, "k");
    tokio::task::yield_now().await;
    let record = seen(&theirs, "k").await.record.unwrap();
    let lease_until = record.lease_until.plus(SECOND * 3_600);
    *store.0.behind.lock().unwrap() = Some(Record { lease_until, ..record });
    let waiter = ours.clone();
    let waits = tokio::spawn(async move { wait(&waiter, SECOND * 60).await });
    let claims = ours.once::<Lied>("k").wait(SECOND * 60);
    let claims = tokio::spawn(async move { claims.run(|_| async { Ok(()) }).await.unwrap() });
    tokio::time::sleep(SECOND * 6).await;
    // A decision in this process wakes both.
    let taken = ours.reconciler("k").operator("ada").reason("asking").reconcile().await.unwrap();
    assert!(matches!(taken, ReconcileOutcome::Taken(_)), "{taken:?}");
    let claims = claims.await.unwrap();
    assert!(matches!(claims, Outcome::Reconciling(_)), "{claims:?}");
    tokio::time::sleep(SECOND).await;
    assert!(!waits.is_finished());
    *store.0.behind.lock().unwrap() = None;
    let began = Instant::now();
    assert!(matches!(waits.await.unwrap(), Waited::Reconciling(_)));
    assert!(began.elapsed() < SECOND * 2, "{:?}", began.elapsed());
}
