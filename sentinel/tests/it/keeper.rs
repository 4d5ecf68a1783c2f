use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use async_trait::async_trait;
use sentinel::kernel::{Op, Reply};
use sentinel::outcome::Lost;
use sentinel::prelude::*;
use sentinel::record::{Address, Kind, State};
use sentinel::store::operation::{Beat, HeartbeatReply, Stamped};
use sentinel::store::{Description, Inspection, StoreError};
use sentinel_conformance::{Fault, FaultPlan, Faulty, Latency, Layer, Layered};
use sentinel_testbed::until;
use tokio::time::Instant;

use crate::{Lied, SECOND};

/// Counts the requests to a store, and may describe the store as one outside the process.
#[derive(Debug)]
pub(crate) struct Counting {
    store: Arc<dyn CoordinationStore>,
    in_process: bool,
    pub(crate) inspected: AtomicU32,
    heartbeats: AtomicU32,
    beats: AtomicU32,
}

impl Counting {
    pub(crate) fn new(in_process: bool) -> Arc<Layered<Self>> {
        let (inspected, heartbeats, beats) = Default::default();
        let store = Arc::new(MemoryStore::new());
        Arc::new(Layered(Self { store, in_process, inspected, heartbeats, beats }))
    }
}

#[async_trait]
impl Layer for Counting {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.store
    }

    fn on_describe(&self) -> Description {
        Description { in_process: self.in_process, ..self.store.describe() }
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        op.send(&*self.store, address).await
    }

    async fn on_heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        self.heartbeats.fetch_add(1, Ordering::SeqCst);
        self.beats.fetch_add(beats.len() as u32, Ordering::SeqCst);
        self.store.heartbeat(beats).await
    }

    async fn on_inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        self.inspected.fetch_add(1, Ordering::SeqCst);
        self.store.inspect(address).await
    }
}

#[tokio::test(start_paused = true)]
async fn the_heartbeats_of_all_leases_are_one_batch() {
    let store = Counting::new(true);
    let sentinel = Sentinel::new(store.clone());
    let mut leases = Vec::new();
    for n in 0..100 {
        let lease =
            sentinel.lease(format!("k{n}")).ttl(SECOND * 3).hard_ttl(SECOND * 60).acquire().await.unwrap();
        leases.push(lease);
    }
    tokio::time::sleep(SECOND * 10).await;
    let (calls, beats) = (store.0.heartbeats.load(Ordering::SeqCst), store.0.beats.load(Ordering::SeqCst));
    assert!(beats >= 300, "{beats} beats");
    assert!(calls * 5 <= beats, "{calls} calls for {beats} beats");
}

/// A store that answers heartbeats with too few replies.
#[derive(Debug)]
struct Terse(Arc<Layered<Counting>>);

#[async_trait]
impl Layer for Terse {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        self.0.0.inner()
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        self.0.0.on_op(address, op).await
    }

    async fn on_heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        self.0.0.on_heartbeat(beats).await.map(|_| Vec::new())
    }
}

#[tokio::test(start_paused = true)]
async fn too_few_replies_count_as_no_reply_to_any_heartbeat() {
    let counting = Counting::new(true);
    let sentinel = Sentinel::new(Layered(Terse(counting.clone())));
    let request = sentinel.lease("k").ttl(SECOND * 3).hard_ttl(SECOND * 60);
    let LeaseOutcome::Held(lease) = request.acquire().await.unwrap() else { panic!("not held") };
    lease.cancelled().cancelled().await;
    assert_eq!(lease.lost(), Some(Lost::HeartbeatTimeout));
    // After a failure each tenth of the ttl; a third of it, jittered, would make five at most.
    assert!(counting.0.heartbeats.load(Ordering::SeqCst) >= 7);
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_heartbeat_delays_no_deadline() {
    let slow = FaultPlan::none().every("heartbeat", Fault::Delay(Latency::Time(SECOND * 600)));
    let sentinel = Sentinel::new(Faulty::new(Arc::new(MemoryStore::new()), slow));
    let began = Instant::now();
    let request = sentinel.lease("k").ttl(SECOND * 3).hard_ttl(SECOND * 60);
    let LeaseOutcome::Held(lease) = request.acquire().await.unwrap() else { panic!("not held") };
    lease.cancelled().cancelled().await;
    assert_eq!(lease.lost(), Some(Lost::HeartbeatTimeout));
    assert!(began.elapsed() < SECOND * 4, "{:?}", began.elapsed());
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn heartbeats_continue_on_the_next_runtime_after_one_has_ended() {
    let sentinel = Sentinel::new(MemoryStore::new());
    for name in ["first", "second"] {
        runtime().block_on(async {
            tokio::time::pause();
            let request = sentinel.lease(name).ttl(SECOND).hard_ttl(SECOND * 60);
            let LeaseOutcome::Held(lease) = request.acquire().await.unwrap() else { panic!("not held") };
            tokio::time::sleep(SECOND * 10).await;
            assert!(!lease.remaining().is_zero(), "the {name} runtime's was not kept alive");
        });
    }
}

/// Answers each request at its second poll, so that the client must poll it.
#[derive(Debug)]
struct Thinking(Arc<Layered<Counting>>);

#[async_trait]
impl Layer for Thinking {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        self.0.0.inner()
    }

    fn on_describe(&self) -> Description {
        self.0.0.on_describe()
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        tokio::task::yield_now().await;
        self.0.0.on_op(address, op).await
    }
}

#[test]
fn work_left_by_an_ended_runtime_is_reported_to_a_store_on_a_server() {
    let counting = Counting::new(false);
    let sentinel = Sentinel::new(Layered(Thinking(counting.clone())));
    let never = || std::future::pending::<Result<(), Lied>>();
    for (key, prepared) in [("running", false), ("prepared", true)] {
        let once = sentinel.once::<Lied>(key).ttl(SECOND * 600).hard_ttl(SECOND * 600);
        let ending = runtime();
        match prepared {
            false => drop(ending.spawn(once.run(move |_| never()))),
            true => drop(ending.spawn(once.prepare(move |_| never()).run(|_, ()| async { Ok(()) }))),
        }
        let other = Sentinel::new(counting.clone());
        let seen = || async { other.inspect(Kind::Execution, key).await.unwrap().record };
        let expected = if prepared { State::Claimed } else { State::Executing };
        ending.block_on(async {
            while seen().await.is_none_or(|record| record.state != expected) {
                tokio::task::yield_now().await;
            }
        });
        drop(ending);
        until("the end was reported to the store", || {
            let record = runtime().block_on(seen()).unwrap();
            if prepared { record.state == State::Free } else { record.doubt.is_some() }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_lease_is_kept_alive_after_the_client_was_dropped() {
    let sentinel = Sentinel::new(MemoryStore::new());
    let request = sentinel.lease("k").ttl(SECOND).hard_ttl(SECOND * 60);
    let LeaseOutcome::Held(lease) = request.acquire().await.unwrap() else { panic!("not held") };
    drop(sentinel);
    tokio::time::sleep(SECOND * 10).await;
    assert!(!lease.remaining().is_zero() && lease.lost().is_none());
}

#[test]
fn a_dropped_client_stops_its_keeper() {
    let counting = Counting::new(false);
    let store = Arc::downgrade(&counting);
    let sentinel = Sentinel::new(counting);
    let lease = runtime().block_on(sentinel.lease("k").ttl(SECOND * 600).hard_ttl(SECOND * 600).acquire());
    drop((sentinel, lease));
    until("all references to the store are dropped", || store.strong_count() == 0);
}

/// A function that blocks the only thread of the caller's runtime keeps its lease: the keeper has a thread of its own.
#[test]
fn blocking_code_does_not_delay_heartbeats() {
    let store = Counting::new(false);
    let sentinel = Sentinel::new(store.clone());
    let (extended, wait_until_extended) = mpsc::channel();
    let watched = sentinel.clone();
    std::thread::spawn(move || {
        runtime().block_on(async {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let Some(record) = watched.inspect(Kind::Execution, "k").await.unwrap().record else {
                    continue;
                };
                let began = record.begun_at.unwrap();
                if record.lease_until.since(began) > SECOND * 3 {
                    return extended.send(()).unwrap();
                }
            }
        });
    });
    let outcome =
        runtime().block_on(sentinel.once("k").ttl(SECOND * 2).hard_ttl(SECOND * 600).run(|run| async move {
            wait_until_extended.recv().unwrap();
            Ok::<_, Lied>(run.lost().is_none())
        }));
    assert!(matches!(outcome.unwrap(), Outcome::Completed(_)));
    assert!(store.0.heartbeats.load(Ordering::SeqCst) > 0);
}
