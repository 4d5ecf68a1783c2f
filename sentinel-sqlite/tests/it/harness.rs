//! A store on a file of its own, with a clock that a test moves.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sentinel_conformance::Harness;
use sentinel_core::operation::*;
use sentinel_core::{
    Address, ClaimId, Clock as _, CoordinationStore, Grant, Key, Label, ManualClock, Namespace, OpId,
    Payload, RecordedResult, StoreTime, Survey, SystemClock, Terms, Token,
};
use sentinel_sqlite::SqliteStore;
use tempfile::TempDir;

/// Opened for the conformance suite, and for the tests beside this file.
pub(crate) struct OnDisk {
    pub(crate) store: SqliteStore,
    pub(crate) clock: Arc<ManualClock>,
    dir: TempDir,
}

impl OnDisk {
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("sentinel.db")
    }

    /// Another connection to the same file, on the same clock: what another process would be.
    pub(crate) async fn another(&self) -> SqliteStore {
        SqliteStore::builder(self.path()).clock(self.clock.clone()).open().await.unwrap()
    }

    /// A plain connection, as the `sqlite3` program opens one.
    pub(crate) fn plain(&self) -> rusqlite::Connection {
        plain(&self.path())
    }
}

pub(crate) fn plain(path: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    connection
}

#[async_trait]
impl Harness for OnDisk {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let builder = SqliteStore::builder(dir.path().join("sentinel.db")).clock(clock.clone());
        Self { store: builder.open().await.unwrap(), clock, dir }
    }

    fn store(&self) -> Arc<dyn CoordinationStore> {
        Arc::new(self.store.clone())
    }

    fn survey(&self) -> Option<Arc<dyn Survey>> {
        Some(Arc::new(self.store.clone()))
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn set_back(&self, by: Duration) -> bool {
        let back = self.clock.now().as_micros() - by.as_micros() as u64;
        self.clock.set(StoreTime::from_micros(back));
        true
    }
}

/// For the conformance suite: a store whose file is closed and opened again, and whose second handle has connections of
/// its own.
pub(crate) struct Reopened {
    store: Mutex<Option<SqliteStore>>,
    clock: Arc<ManualClock>,
    dir: TempDir,
}

impl Reopened {
    async fn handle(&self) -> SqliteStore {
        let builder = SqliteStore::builder(self.dir.path().join("sentinel.db"));
        builder.clock(self.clock.clone()).open().await.unwrap()
    }
}

#[async_trait]
impl Harness for Reopened {
    async fn open() -> Self {
        let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::new(SystemClock.now())));
        let harness = Self { store: Mutex::new(None), clock, dir };
        assert!(harness.reopen().await);
        harness
    }

    fn store(&self) -> Arc<dyn CoordinationStore> {
        Arc::new(self.store.lock().unwrap().clone().expect("it is open"))
    }

    async fn another(&self) -> Option<Arc<dyn CoordinationStore>> {
        Some(Arc::new(self.handle().await))
    }

    async fn reopen(&self) -> bool {
        // The last handle closes the file.
        drop(self.store.lock().unwrap().take());
        let store = self.handle().await;
        *self.store.lock().unwrap() = Some(store);
        true
    }

    fn survey(&self) -> Option<Arc<dyn Survey>> {
        Some(Arc::new(self.store.lock().unwrap().clone().expect("it is open")))
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn set_back(&self, by: Duration) -> bool {
        self.clock.set(StoreTime::from_micros(self.clock.now().as_micros() - by.as_micros() as u64));
        true
    }
}

pub(crate) fn namespace() -> Namespace {
    Namespace::new("tests").unwrap()
}

pub(crate) fn execution(key: &str) -> Address {
    Address::execution(namespace(), Key::new(key).unwrap())
}

pub(crate) fn lease(key: &str) -> Address {
    Address::lease(namespace(), Key::new(key).unwrap())
}

pub(crate) fn claim(phase: Phase) -> Claim {
    Claim {
        claim_id: ClaimId::random(),
        terms: Terms::new(Duration::from_secs(10), Duration::from_secs(60)).unwrap(),
        retention: None,
        fingerprint: None,
        worker: Label::new("a worker").unwrap(),
        phase,
        accepts: sentinel_core::Accepts::any(),
        cause: None,
        about: None,
    }
}

pub(crate) fn fused() -> Claim {
    claim(Phase::Executing)
}

pub(crate) fn success(bytes: &[u8]) -> RecordedResult {
    RecordedResult::success(Payload::new(Payload::OCTETS, bytes.to_vec()))
}

/// Claims, and expects the grant.
pub(crate) async fn granted(store: &dyn CoordinationStore, address: &Address, claim: &Claim) -> Grant {
    match store.claim(address, claim).await.unwrap().reply {
        ClaimReply::Granted(granted) => Grant { token: granted.token, claim_id: claim.claim_id },
        other => panic!("not granted: {other:?}"),
    }
}

/// Runs a key from claim to result.
pub(crate) async fn once(
    store: &dyn CoordinationStore,
    address: &Address,
    claim: &Claim,
    bytes: &[u8],
) -> Grant {
    let grant = granted(store, address, claim).await;
    let complete = Complete { grant, result: success(bytes) };
    let reply = store.complete(address, &complete).await.unwrap().reply;
    assert_eq!(reply, CompleteReply::Recorded { late: false });
    grant
}

pub(crate) fn reconcile(expect: Token) -> Reconcile {
    Reconcile {
        op_id: OpId::random(),
        operator: Label::new("an operator").unwrap(),
        reason: Some(Label::new("looked at the provider").unwrap()),
        expect,
        even_if_alive: false,
        steal: false,
    }
}
