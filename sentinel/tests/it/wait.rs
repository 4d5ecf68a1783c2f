use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sentinel::kernel::{Op, Reply};
use sentinel::prelude::*;
use sentinel::record::Address;
use sentinel::store::operation::Stamped;
use sentinel::store::{Inspection, Notice, StoreError};
use sentinel_conformance::{Layer, Layered};
use tokio::sync::{Notify, OnceCell, oneshot};
use tokio::time::Instant;

use crate::keeper::Counting;
use crate::{Lied, SECOND, doubt, sentinel};

/// Starts a run that ends when and how the sender chooses.
pub(crate) fn start(sentinel: &Sentinel, key: &str) -> oneshot::Sender<Result<String, Lied>> {
    let (end, ended) = oneshot::channel();
    let once = sentinel.once(key).ttl(SECOND * 5).nothing_happened_if(|e: &Lied| e.0 == "nothing");
    tokio::spawn(once.run(|_| async move { ended.await.unwrap_or(Err(Lied("gone"))) }));
    end
}

async fn join(sentinel: Sentinel) -> Outcome<String, Lied> {
    let once = sentinel.once("k").wait(SECOND * 60);
    once.run(|_| async { Ok("ran after all".to_owned()) }).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn without_a_wait_the_call_returns_at_once() {
    let sentinel = sentinel();
    let _end = start(&sentinel, "k");
    tokio::task::yield_now().await;
    let outcome = sentinel.once("k").run(|_| async { Ok::<String, Lied>(String::new()) }).await.unwrap();
    assert!(matches!(outcome, Outcome::InProgress(other) if other.remaining <= SECOND * 5));
}

#[tokio::test(start_paused = true)]
async fn many_callers_wait_behind_one_watcher_and_get_the_result() {
    let store = Counting::new(true);
    let sentinel = Sentinel::new(store.clone());
    let end = start(&sentinel, "k");
    tokio::task::yield_now().await;
    let joins: Vec<_> = (0..100).map(|_| tokio::spawn(join(sentinel.clone()))).collect();
    tokio::time::sleep(SECOND * 2).await;
    let polls = store.0.inspected.load(Ordering::SeqCst);
    assert!((1..=30).contains(&polls), "one watcher polled {polls} times, however many wait");
    end.send(Ok("receipt".to_owned())).unwrap();
    for join in joins {
        assert!(matches!(join.await.unwrap(), Outcome::Replayed(text) if text == "receipt"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_result_of_another_process_ends_a_wait_too() {
    // Two clients share only the store, so no notification within the process helps.
    let store = MemoryStore::new();
    let (theirs, ours) = (Sentinel::new(store.clone()), Sentinel::new(store));
    let end = start(&theirs, "k");
    tokio::task::yield_now().await;
    let joined = tokio::spawn(join(ours));
    tokio::time::sleep(SECOND).await;
    end.send(Ok("receipt".to_owned())).unwrap();
    assert!(matches!(joined.await.unwrap(), Outcome::Replayed(text) if text == "receipt"));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_turns_uncertain_ends_the_wait() {
    let sentinel = sentinel();
    let _never_ends = start(&sentinel, "k");
    tokio::task::yield_now().await;
    assert!(matches!(join(sentinel.clone()).await, Outcome::Uncertain(_)));
    let _ = doubt(&sentinel, "other").await;
}

#[tokio::test(start_paused = true)]
async fn one_waiting_caller_runs_after_a_vouched_release() {
    let sentinel = sentinel();
    let end = start(&sentinel, "k");
    tokio::task::yield_now().await;
    let joins: Vec<_> = (0..10).map(|_| tokio::spawn(join(sentinel.clone()))).collect();
    tokio::time::sleep(SECOND).await;
    end.send(Err(Lied("nothing"))).unwrap();
    let mut ran = 0;
    for join in joins {
        match join.await.unwrap() {
            Outcome::Completed(_) => ran += 1,
            other => assert!(matches!(other, Outcome::Replayed(_))),
        }
    }
    assert_eq!(ran, 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_without_waiting_callers_is_not_polled() {
    let store = Counting::new(true);
    let sentinel = Sentinel::new(store.clone());
    let _end = start(&sentinel, "k");
    tokio::task::yield_now().await;
    let waiting = tokio::spawn(join(sentinel.clone()));
    tokio::time::sleep(SECOND).await;
    waiting.abort();
    tokio::time::sleep(SECOND).await;
    let polls = store.0.inspected.load(Ordering::SeqCst);
    assert!(polls > 0);
    tokio::time::sleep(SECOND * 60).await;
    assert_eq!(store.0.inspected.load(Ordering::SeqCst), polls);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_its_deadline() {
    let sentinel = sentinel();
    let (end, ended) = oneshot::channel::<()>();
    let once = sentinel.once("k").ttl(SECOND * 5).hard_ttl(SECOND * 500);
    tokio::spawn(once.run(|_| async move { Ok::<_, Lied>(ended.await.is_ok()) }));
    tokio::task::yield_now().await;
    let started = tokio::time::Instant::now();
    assert!(matches!(join(sentinel.clone()).await, Outcome::InProgress(_)));
    assert!(started.elapsed() >= SECOND * 60);
    drop(end);
}

/// A store that is notified of changes, or reports that it is.
#[derive(Debug)]
struct Hearing {
    store: Arc<dyn CoordinationStore>,
    notice: Arc<Notify>,
    /// Each wait ends at once with this.
    hasty: Option<Notice>,
    /// Each read returns what the first one found.
    stale: Option<OnceCell<Inspection>>,
    polls: AtomicU32,
    requests: AtomicU32,
}

impl Hearing {
    fn new(store: &MemoryStore) -> Self {
        let (notice, polls, requests) = Default::default();
        Self { store: Arc::new(store.clone()), notice, hasty: None, stale: None, polls, requests }
    }
}

#[async_trait]
impl Layer for Hearing {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.store
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        op.send(&*self.store, address).await
    }

    async fn on_inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        match &self.stale {
            Some(first) => first.get_or_try_init(|| self.store.inspect(address)).await.cloned(),
            None => self.store.inspect(address).await,
        }
    }

    async fn on_changed(&self, _: &Address, within: Duration) -> Notice {
        if let Some(notice) = self.hasty {
            return notice;
        }
        match tokio::time::timeout(within, self.notice.notified()).await {
            Ok(()) => Notice::Changed,
            Err(_) => Notice::Listening,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_notified_change_needs_no_poll() {
    let store = MemoryStore::new();
    let hearing = Arc::new(Layered(Hearing { stale: Some(OnceCell::new()), ..Hearing::new(&store) }));
    let end = start(&Sentinel::new(store), "k");
    tokio::task::yield_now().await;
    let joined = tokio::spawn(join(Sentinel::new(hearing.clone())));
    tokio::time::sleep(SECOND).await;
    end.send(Ok("receipt".to_owned())).unwrap();
    tokio::time::sleep(SECOND).await;
    assert!(!joined.is_finished(), "no poll can find that it has ended");
    let notified = Instant::now();
    hearing.0.notice.notify_one();
    assert!(matches!(joined.await.unwrap(), Outcome::Replayed(text) if text == "receipt"));
    assert!(notified.elapsed() < SECOND / 10);
}

#[tokio::test(start_paused = true)]
async fn a_store_with_notifications_is_polled_seldom() {
    let store = MemoryStore::new();
    let hearing = Arc::new(Layered(Hearing::new(&store)));
    let (theirs, ours) = (Sentinel::new(store), Sentinel::new(hearing.clone()));
    let (end, ended) = oneshot::channel::<()>();
    let once = theirs.once("k").ttl(SECOND * 5).hard_ttl(SECOND * 500);
    let run = tokio::spawn(once.run(|_| async move { Ok::<_, Lied>(ended.await.is_ok()) }));
    tokio::task::yield_now().await;
    let joined = tokio::spawn(ours.once("k").wait(SECOND * 600).run(|_| async { Ok::<_, Lied>(false) }));
    tokio::time::sleep(SECOND * 60).await;
    let polls = hearing.0.polls.load(Ordering::SeqCst);
    assert!((10..=60).contains(&polls), "{polls} polls in a minute");
    // The notification is lost: the next poll finds the change.
    end.send(()).unwrap();
    assert!(matches!(run.await.unwrap().unwrap(), Outcome::Completed(true)));
    assert!(matches!(joined.await.unwrap().unwrap(), Outcome::Replayed(true)));
}

/// There is no notification of a lapse, so also a store with notifications is polled at that time.
#[tokio::test(start_paused = true)]
async fn a_lapse_is_noticed_when_it_happens() {
    let store = MemoryStore::new();
    let _never_ends = start(&Sentinel::new(store.clone()), "k");
    tokio::task::yield_now().await;
    let began = Instant::now();
    assert!(matches!(join(Sentinel::new(Layered(Hearing::new(&store)))).await, Outcome::Uncertain(_)));
    assert!(
        began.elapsed() < SECOND * 5 + SECOND / 10,
        "it lapsed after 5 s, and was seen after {:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_always_reports_a_change_is_not_polled_without_pause() {
    for notice in [Notice::Changed, Notice::Listening, Notice::Polling] {
        let store = MemoryStore::new();
        let hearing = Arc::new(Layered(Hearing { hasty: Some(notice), ..Hearing::new(&store) }));
        let _never_ends = start(&Sentinel::new(store), "k");
        tokio::task::yield_now().await;
        let waiting = tokio::spawn(join(Sentinel::new(hearing.clone())));
        tokio::time::sleep(SECOND).await;
        let (polls, requests) =
            (hearing.0.polls.load(Ordering::SeqCst), hearing.0.requests.load(Ordering::SeqCst));
        assert!(polls + requests <= 1_000, "{polls} polls and {requests} requests in a second");
        waiting.abort();
    }
}
