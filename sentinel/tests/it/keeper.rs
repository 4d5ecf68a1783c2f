use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use async_trait::async_trait;
use sentinel::kernel::{Op, Reply};
use sentinel::operation::{Beat, HeartbeatReply, Stamped};
use sentinel::prelude::*;
use sentinel::store::{Description, Inspection};
use sentinel::{Address, Kind, StoreError};
use sentinel_conformance::{Layer, Layered};

use crate::{Lied, SECOND};

/// Counts what a store is asked, and may claim that the store lives outside the process.
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
async fn the_leases_of_a_store_beat_as_one_batch() {
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

/// A function that blocks the only thread of the caller's runtime keeps its lease: the keeper has a thread of its own.
#[test]
fn blocking_code_does_not_starve_heartbeats() {
    let store = Counting::new(false);
    let sentinel = Sentinel::new(store.clone());
    let (extended, wait_until_extended) = mpsc::channel();
    let watched = sentinel.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome =
        runtime.block_on(sentinel.once("k").ttl(SECOND * 2).hard_ttl(SECOND * 600).run(|run| async move {
            wait_until_extended.recv().unwrap();
            Ok::<_, Lied>(run.lost().is_none())
        }));
    assert!(matches!(outcome.unwrap(), Outcome::Completed(_)));
    assert!(store.0.heartbeats.load(Ordering::SeqCst) > 0);
}
