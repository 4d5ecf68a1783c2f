//! Waiting until a write is where it has to be: what is not there is not acknowledged.

use sentinel_core::operation::*;
use sentinel_core::{Address, CoordinationStore as _, ErrorKind, Grant, OpId, StoreError};
use sentinel_redis::{Durability, RedisStore};
use sentinel_testbed::Redis;
use sentinel_testbed::redis::Options;

use crate::faults::*;

/// A primary and its replica, a store that waits for the replica, and one that does not.
struct Fixture {
    replica: Redis,
    primary: Redis,
    store: RedisStore,
    beside: RedisStore,
}

impl Fixture {
    async fn open() -> Self {
        let primary = Redis::start(Options::default());
        let replica = primary.replica(Options::default());
        let waiting = RedisStore::builder(&primary.url()).durability(Durability::Replicas(1)).deadline(SOON);
        let store = waiting.init().await.unwrap();
        let beside = RedisStore::connect(&primary.url()).await.unwrap();
        // Its connection is made, and the scripts are known.
        let (address, claim) = (execution("first"), fused());
        replied(|| store.claim(&address, &claim)).await;
        Self { replica, primary, store, beside }
    }

    async fn held(&self, key: &str, phase: Phase) -> (Address, Grant) {
        let address = execution(key);
        let grant = hold(&self.beside, &address, phase).await;
        (address, grant)
    }

    async fn taken(&self, key: &str) -> (Address, sentinel_core::Token) {
        let (address, grant) = self.held(key, Phase::Executing).await;
        self.beside.abandon(&address, &abandon(grant)).await.unwrap();
        let token = self.beside.reconcile(&address, &reconcile(grant.token)).await.unwrap().stamp.token;
        (address, token)
    }

    /// While the replica is silent, it is not acknowledged, neither at first nor again, although it has taken effect.
    /// Then the next call acknowledges it. When the replica is silent again, calls do not, although earlier ones did.
    async fn waits<R, F>(&self, address: &Address, changes: bool, ask: impl Fn() -> F)
    where
        F: Future<Output = Result<Stamped<R>, StoreError>>,
        R: std::fmt::Debug,
    {
        let events = async || self.beside.history(address, 100).await.unwrap().len();
        let before = events().await;
        self.replica.pause();
        is_ambiguous(ask().await);
        let after = events().await;
        assert_eq!(after, before + usize::from(changes), "it is carried out all the same");
        is_ambiguous(ask().await);
        self.replica.resume();
        // There is a write of its own to wait for, as `WAIT` is documented: what other connections wrote is not its
        // business.
        let touched = || self.primary.cli(&["GET", "sentinel:{tests:0}:touch"]);
        let before = touched();
        let stamped = replied(&ask).await;
        assert!(!stamped.stamp.changed, "{stamped:?}");
        assert_ne!(touched(), before, "it has written nothing");
        self.replica.pause();
        is_ambiguous(ask().await);
        self.replica.resume();
        assert_eq!(events().await, after);
    }
}

/// The answer, as soon as the replica has caught up.
async fn replied<T, F: Future<Output = Result<T, StoreError>>>(ask: impl Fn() -> F) -> T {
    let report = async {
        loop {
            match ask().await {
                Ok(report) => return report,
                Err(error) => assert!(error.is_worth_repeating(), "{error}"),
            }
        }
    };
    tokio::time::timeout(AT_LAST, report).await.expect("it is answered")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workers_operation_is_acknowledged_when_the_replica_has_it() {
    let fixture = Fixture::open().await;
    let (store, beside) = (&fixture.store, &fixture.beside);
    let (address, grant) = fixture.held("begun", Phase::Claimed).await;
    let begin = Begin { grant };
    fixture.waits(&address, true, || store.begin(&address, &begin)).await;
    let (address, claim) = (execution("claimed and begun"), fused());
    fixture.waits(&address, true, || store.claim(&address, &claim)).await;
    let (address, grant) = fixture.held("completed", Phase::Executing).await;
    let done = complete(grant, "done");
    fixture.waits(&address, true, || store.complete(&address, &done)).await;
    let (address, grant) = fixture.held("vouched for", Phase::Executing).await;
    let release = Release { grant, vouched: true };
    fixture.waits(&address, true, || store.release(&address, &release)).await;
    let (address, grant) = fixture.held("cancelled", Phase::Claimed).await;
    let cancel = Cancel { claim_id: grant.claim_id };
    fixture.waits(&address, true, || store.cancel(&address, &cancel)).await;
    // A result is durable before any caller gets it.
    let (address, grant) = fixture.held("replayed", Phase::Executing).await;
    beside.complete(&address, &complete(grant, "done")).await.unwrap();
    let claim = call();
    fixture.waits(&address, false, || store.claim(&address, &claim)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_acknowledged_when_the_replica_has_it() {
    let fixture = Fixture::open().await;
    let store = &fixture.store;
    let (address, grant) = fixture.held("taken", Phase::Executing).await;
    fixture.beside.abandon(&address, &abandon(grant)).await.unwrap();
    let take = reconcile(grant.token);
    fixture.waits(&address, true, || store.reconcile(&address, &take)).await;
    let (address, token) = fixture.taken("happened").await;
    let forced = force(token, "it did");
    fixture.waits(&address, true, || store.force_complete(&address, &forced)).await;
    let (address, token) = fixture.taken("did not happen").await;
    let (op_id, operator) = (OpId::random(), label("ada"));
    let reset = ResetToClaimed { op_id, token, operator, reason: None, accept_overlap: true };
    fixture.waits(&address, true, || store.reset_to_claimed(&address, &reset)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_waits_for_the_replica_and_a_running_execution_does_not() {
    let fixture = Fixture::open().await;
    let store = &fixture.store;
    let (held, claim) = (lease("held"), call());
    fixture.waits(&held, true, || store.claim(&held, &claim)).await;
    let grant = granted(&claim, &replied(|| store.claim(&held, &claim)).await.reply);
    let (run, running) = fixture.held("running", Phase::Executing).await;
    fixture.primary.wait_caught_up();
    let beat = |address: &Address, grant| vec![Beat { address: address.clone(), grant }];
    let (lease, execution) = (beat(&held, grant), beat(&run, running));
    // Its connections are made.
    replied(|| store.heartbeat(&lease)).await;
    replied(|| store.heartbeat(&execution)).await;
    fixture.replica.pause();
    is_ambiguous(store.heartbeat(&lease).await);
    store.heartbeat(&execution).await.unwrap();
    fixture.replica.resume();
    replied(|| store.heartbeat(&lease)).await;
    // The release of a lease needs no confirmation: at worst the lease is held until it ends.
    fixture.replica.pause();
    let stamped = store.release(&held, &Release { grant, vouched: false }).await.unwrap();
    assert_eq!(stamped.reply, ReleaseReply::Released);
    fixture.replica.resume();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_replica_makes_a_write_ambiguous() {
    let fixture = Fixture::open().await;
    let two = RedisStore::builder(&fixture.primary.url()).durability(Durability::Replicas(2)).deadline(SOON);
    let (address, claim) = (execution("key"), fused());
    is_ambiguous(two.open().await.unwrap().claim(&address, &claim).await);
    let stamped = replied(|| fixture.store.claim(&address, &claim)).await;
    granted(&claim, &stamped.reply);
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_durability_is_refused_on_a_server_that_cannot_wait_for_its_disk() {
    let server = Redis::start(Options::default());
    drop(RedisStore::init(&server.url()).await.unwrap());
    let waiting = RedisStore::builder(&server.url()).durability(Durability::Disk { replicas: 0 });
    if server.version() >= (7, 2) {
        hold(&waiting.open().await.unwrap(), &execution("key"), Phase::Executing).await;
        return;
    }
    for opened in [waiting.clone().open().await, waiting.init().await] {
        let message = format!("{opened:?}");
        is_not_applied(opened, ErrorKind::DeploymentRefused);
        assert!(message.contains("7.2"), "{message}");
    }
}
