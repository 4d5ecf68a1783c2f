use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use async_trait::async_trait;
use sentinel::operation::*;
use sentinel::prelude::*;
use sentinel::store::{Description, Health, Inspection, List, Listing, Purge, Purged};
use sentinel::{Address, Event, Kind, StoreError};

use crate::{Lied, SECOND};

/// A store that counts what it is asked, and may claim to live outside the process.
#[derive(Debug)]
pub(crate) struct Counting {
    store: MemoryStore,
    in_process: bool,
    pub(crate) inspected: AtomicU32,
    pub(crate) heartbeats: AtomicU32,
    pub(crate) beats: AtomicU32,
}

impl Counting {
    pub(crate) fn in_process() -> Self {
        Self::new(true)
    }

    fn new(in_process: bool) -> Self {
        let (inspected, heartbeats, beats) = Default::default();
        Self { store: MemoryStore::new(), in_process, inspected, heartbeats, beats }
    }
}

macro_rules! pass {
    ($($method:ident, $op:ident, $reply:ident;)*) => {
        #[async_trait]
        impl CoordinationStore for Counting {
            fn describe(&self) -> Description {
                Description { in_process: self.in_process, ..self.store.describe() }
            }
            $(async fn $method(&self, address: &Address, op: &$op) -> Result<Stamped<$reply>, StoreError> {
                self.store.$method(address, op).await
            })*
            async fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
                self.heartbeats.fetch_add(1, Ordering::SeqCst);
                self.beats.fetch_add(beats.len() as u32, Ordering::SeqCst);
                self.store.heartbeat(beats).await
            }
            async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
                self.store.purge(purge).await
            }
            async fn inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
                self.inspected.fetch_add(1, Ordering::SeqCst);
                self.store.inspect(address).await
            }
            async fn list(&self, list: &List) -> Result<Listing, StoreError> {
                self.store.list(list).await
            }
            async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
                self.store.history(address, limit).await
            }
            async fn probe(&self) -> Result<Health, StoreError> {
                self.store.probe().await
            }
        }
    };
}

pass! {
    claim, Claim, ClaimReply;
    begin, Begin, BeginReply;
    complete, Complete, CompleteReply;
    cancel, Cancel, CancelReply;
    release, Release, ReleaseReply;
    abandon, Abandon, AbandonReply;
    reconcile, Reconcile, ReconcileReply;
    force_complete, ForceComplete, ForceCompleteReply;
    reset_to_claimed, ResetToClaimed, ResetReply;
    evict, Evict, EvictReply;
}

#[tokio::test(start_paused = true)]
async fn the_leases_of_a_store_beat_as_one_batch() {
    let store = std::sync::Arc::new(Counting::in_process());
    let sentinel = Sentinel::new(store.clone());
    let mut leases = Vec::new();
    for n in 0..100 {
        let lease =
            sentinel.lease(format!("k{n}")).ttl(SECOND * 3).hard_ttl(SECOND * 60).acquire().await.unwrap();
        leases.push(lease);
    }
    tokio::time::sleep(SECOND * 10).await;
    let (calls, beats) = (store.heartbeats.load(Ordering::SeqCst), store.beats.load(Ordering::SeqCst));
    assert!(beats >= 300, "{beats} beats");
    assert!(calls * 5 <= beats, "{calls} calls for {beats} beats");
}

/// A function that blocks the only thread of the caller's runtime keeps its lease: the keeper has a thread of its own.
#[test]
fn blocking_code_does_not_starve_heartbeats() {
    let store = std::sync::Arc::new(Counting::new(false));
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
    assert!(store.heartbeats.load(Ordering::SeqCst) > 0);
}
