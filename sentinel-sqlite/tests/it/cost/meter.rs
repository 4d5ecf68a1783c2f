//! A file of its own, and what was written to its log. A busy machine changes no figure.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use futures_util::future::join_all;
use sentinel_core::{Address, Clock, CoordinationStore, Kind, StoreTime, SystemClock};
use sentinel_sqlite::SqliteStore;
use sentinel_store_tests::cost;
use sentinel_testbed::{CostBudget, Unit};
use tempfile::TempDir;
use tokio::task::unconstrained;

use crate::cost::budgets::UNITS;
use crate::harness::{execution, fused, granted, plain};

/// A clock that can be stopped, and with it the threads that read it.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_shut: bool,
    waiting: usize,
}

impl Gate {
    fn shut(&self, shut: bool) {
        self.state().is_shut = shut;
        self.changed.notify_all();
    }

    /// Waits until a thread waits for the clock.
    fn wait_for_reader(&self) {
        let mut state = self.state();
        while state.waiting == 0 {
            state = self.changed.wait(state).unwrap();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for Gate {
    fn now(&self) -> StoreTime {
        let mut state = self.state();
        state.waiting += 1;
        self.changed.notify_all();
        while state.is_shut {
            state = self.changed.wait(state).unwrap();
        }
        state.waiting -= 1;
        SystemClock.now()
    }
}

/// What the file of each round holds before.
const RECORDS: usize = 256;

/// A store on a file that no other test uses. Its keys, and so the pages that are written, are the same each time.
pub(crate) struct Fixture {
    store: SqliteStore,
    gate: Arc<Gate>,
    keys: AtomicU64,
    /// Commits that are not measured, since the log was emptied.
    unmeasured: AtomicUsize,
    dir: TempDir,
}

impl cost::Subject for Fixture {
    fn store(&self) -> &dyn CoordinationStore {
        &self.store
    }

    fn fresh(&self, kind: Kind) -> Address {
        // An odd factor: no two are alike.
        let spread = self.keys.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Address { kind, ..execution(&format!("invoice-{spread:016x}-{spread:016x}")) }
    }

    /// Lets requests wait behind one that is held until all of them wait, so that they go together.
    async fn together(&self, all: impl IntoIterator<Item = impl Future>) {
        let (at, call) = (self.fresh(Kind::Execution), fused());
        let mut first = pin!(self.store.claim(&at, &call));
        self.gate.shut(true);
        assert!(poll_once(first.as_mut()).await.is_none());
        self.gate.wait_for_reader();
        let mut all = pin!(unconstrained(join_all(all)));
        assert!(poll_once(all.as_mut()).await.is_none());
        self.gate.shut(false);
        first.await.unwrap();
        self.unmeasured.fetch_add(1, Ordering::Relaxed);
        all.await;
    }
}

impl Fixture {
    async fn open() -> Self {
        let (dir, gate) = (tempfile::tempdir().unwrap(), Arc::new(Gate::default()));
        let builder = SqliteStore::builder(dir.path().join("sentinel.db")).clock(gate.clone());
        let store = builder.open().await.unwrap();
        let (keys, unmeasured) = Default::default();
        let fixture = Self { store, gate, keys, unmeasured, dir };
        let filled = (0..RECORDS).map(|_| async { fixture.claimed().await });
        cost::Subject::together(&fixture, filled).await;
        fixture
    }

    async fn claimed(&self) {
        granted(&self.store, &cost::Subject::fresh(self, Kind::Execution), &fused()).await;
    }

    /// Empties the log; how many commits are in it then. After a checkpoint of another program the store seals the file
    /// again, with its next commit.
    async fn empty_the_log(&self) -> usize {
        let other = plain(&self.dir.path().join("sentinel.db"));
        let busy: i64 = other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
        assert_eq!(busy, 0, "no other connection uses the file");
        self.claimed().await;
        self.log(0)[0] as usize
    }

    /// Commits, and bytes, in the log after this number of commits. The format:
    /// <https://sqlite.org/fileformat2.html#walformat>.
    fn log(&self, skipped: usize) -> [f64; 2] {
        const HEADER: usize = 32;
        const FRAME_HEADER: usize = 24;
        let log = std::fs::read(self.dir.path().join("sentinel.db-wal")).unwrap();
        let Some(page_size) = log.get(8..12) else { return [0.0, 0.0] };
        let page_size = u32::from_be_bytes(page_size.try_into().unwrap()) as usize;
        let (mut commits, mut bytes) = (0, 0);
        // Behind the frames of this log may be those of the one before, which have other salts.
        let frames = log[HEADER..].chunks_exact(FRAME_HEADER + page_size);
        for frame in frames.take_while(|frame| frame[8..16] == log[16..24]) {
            if commits >= skipped {
                bytes += frame.len();
            }
            // The last frame of a commit has the size of the file after it; the others have none.
            commits += usize::from(frame[4..8] != [0; 4]);
        }
        [(commits - skipped) as f64, bytes as f64]
    }
}

/// Measures, each round on a file of its own.
pub(crate) struct Meter(Fixture);

impl cost::Meter<2> for Meter {
    type Subject = Fixture;

    /// With more, the log would reach the length at which SQLite begins it anew.
    const HEARTBEATS: usize = 1;

    async fn open(_: &str) -> Self {
        Self(Fixture::open().await)
    }

    fn units(_: &CostBudget<2>) -> &'static [Unit; 2] {
        &UNITS
    }

    async fn next_round(&mut self) -> bool {
        self.0 = Fixture::open().await;
        true
    }

    fn subject(&self) -> &Fixture {
        &self.0
    }

    /// The log begins with the commit that those which go together waited behind.
    async fn count(&mut self, operations: impl AsyncFnOnce(&Fixture)) -> [f64; 2] {
        let before = self.0.empty_the_log().await;
        self.0.unmeasured.store(0, Ordering::Relaxed);
        operations(&self.0).await;
        self.0.log(before + self.0.unmeasured.load(Ordering::Relaxed))
    }
}

/// Polls a future once.
async fn poll_once<F: Future>(mut of: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match of.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
