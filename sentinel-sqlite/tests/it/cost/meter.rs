//! A file of its own, and what its log tells of what was written. A busy machine changes no figure.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use futures_util::future::join_all;
use sentinel_core::operation::Claim;
use sentinel_core::{Address, Clock, CoordinationStore as _, Grant, Kind, StoreTime, SystemClock};
use sentinel_sqlite::SqliteStore;
use sentinel_testbed::Price;
use tempfile::TempDir;
use tokio::task::unconstrained;

use crate::cost::prices::UNITS;
use crate::harness::{execution, fused, granted, plain};

/// A clock that can be stopped, and with it whoever reads it.
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

    /// Until somebody stands before it.
    fn is_met(&self) {
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

/// A store on a file that nobody else uses. Its keys, and so the pages that are written, are the same each time.
pub(crate) struct Desk {
    pub(crate) store: SqliteStore,
    gate: Arc<Gate>,
    keys: AtomicU64,
    dir: TempDir,
}

impl Desk {
    pub(crate) async fn open() -> Self {
        let (dir, gate) = (tempfile::tempdir().unwrap(), Arc::new(Gate::default()));
        let builder = SqliteStore::builder(dir.path().join("sentinel.db")).clock(gate.clone());
        let desk = Self { store: builder.open().await.unwrap(), gate, keys: AtomicU64::new(0), dir };
        let filled = (0..RECORDS).map(|_| async { desk.held(Kind::Execution, &fused()).await });
        desk.together(filled).await;
        desk
    }

    /// As long as a user's keys are, and as evenly spread.
    pub(crate) fn fresh(&self, kind: Kind) -> Address {
        // An odd factor: no two are alike.
        let spread = self.keys.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Address { kind, ..execution(&format!("invoice-{spread:016x}-{spread:016x}")) }
    }

    pub(crate) async fn held(&self, kind: Kind, claim: &Claim) -> (Address, Grant) {
        let address = self.fresh(kind);
        let grant = granted(&self.store, &address, claim).await;
        (address, grant)
    }

    /// Lets requests wait behind one that is held until all of them do, so that they go together.
    async fn together(&self, all: impl IntoIterator<Item = impl Future>) {
        let (at, call) = (self.fresh(Kind::Execution), fused());
        let mut first = pin!(self.store.claim(&at, &call));
        self.gate.shut(true);
        assert!(look(first.as_mut()).await.is_none());
        self.gate.is_met();
        let mut all = pin!(unconstrained(join_all(all)));
        assert!(look(all.as_mut()).await.is_none());
        self.gate.shut(false);
        first.await.unwrap();
        all.await;
    }

    async fn scenes<T>(&self, many: usize, scene: &impl AsyncFn(&Desk) -> T) -> Vec<T> {
        let mut scenes = Vec::new();
        for _ in 0..many {
            scenes.push(scene(self).await);
        }
        scenes
    }

    /// Empties the log; how many commits are in it then. After a checkpoint of another program the store seals the file
    /// again, with its next commit.
    async fn empty_the_log(&self) -> usize {
        let somebody = plain(&self.dir.path().join("sentinel.db"));
        let busy: i64 = somebody.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
        assert_eq!(busy, 0, "nobody else uses the file");
        self.held(Kind::Execution, &fused()).await;
        self.log(0)[0] as usize
    }

    /// Commits, and bytes, in the log after so many commits. The format: <https://sqlite.org/fileformat2.html#walformat>.
    fn log(&self, skipped: usize) -> [f64; 2] {
        const HEADER: usize = 32;
        const FRAME_HEADER: usize = 24;
        let log = std::fs::read(self.dir.path().join("sentinel.db-wal")).unwrap();
        let Some(page_size) = log.get(8..12) else { return [0.0, 0.0] };
        let page_size = u32::from_be_bytes(page_size.try_into().unwrap()) as usize;
        let (mut commits, mut bytes) = (0, 0);
        // Behind the frames of this log may stand those of the one before, which have other salts.
        let frames = log[HEADER..].chunks_exact(FRAME_HEADER + page_size);
        for frame in frames.take_while(|frame| frame[8..16] == log[16..24]) {
            if commits >= skipped {
                bytes += frame.len();
            }
            // The last frame of a commit says how large the file is then; the others say nothing.
            commits += usize::from(frame[4..8] != [0; 4]);
        }
        [(commits - skipped) as f64, bytes as f64]
    }
}

/// Measures, each round on a file of its own.
#[derive(Default)]
pub(crate) struct Meter {
    untrue: Vec<String>,
}

impl Meter {
    /// Sets the scene for so many of an operation, measures them one by one, and notes it if the price is not true.
    pub(crate) async fn measure_alone<T>(
        &mut self,
        price: &Price<2>,
        many: usize,
        scene: &impl AsyncFn(&Desk) -> T,
        operation: &impl AsyncFn(&Desk, &T),
    ) {
        let mut trial = price.trial(&UNITS);
        while trial.goes_on() {
            let desk = Desk::open().await;
            let scenes = desk.scenes(many, scene).await;
            let before = desk.empty_the_log().await;
            for set in &scenes {
                operation(&desk, set).await;
            }
            trial.note(desk.log(before).map(|all| all / many as f64));
        }
        self.untrue.extend(trial.verdict().err());
    }

    /// The same for so many that come together. The log begins with the one that they waited behind.
    pub(crate) async fn measure_company<T>(
        &mut self,
        price: &Price<2>,
        many: usize,
        scene: &impl AsyncFn(&Desk) -> T,
        operation: &impl AsyncFn(&Desk, &T),
    ) {
        let mut trial = price.trial(&UNITS);
        while trial.goes_on() {
            let desk = Desk::open().await;
            let scenes = desk.scenes(many, scene).await;
            let before = desk.empty_the_log().await;
            desk.together(scenes.iter().map(|set| operation(&desk, set))).await;
            trial.note(desk.log(before + 1));
        }
        self.untrue.extend(trial.verdict().err());
    }

    /// Panics if a price was not true.
    #[track_caller]
    pub(crate) fn settle(&self) {
        assert!(self.untrue.is_empty(), "{}", self.untrue.join("\n"));
    }
}

/// Lets a future go on as far as it can.
async fn look<F: Future>(mut of: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match of.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
