//! A synchronous standby: nothing is answered before it has confirmed it, also what is asked again. Failover.

use std::future::Future;
use std::time::Duration;

use sentinel_core::operation::*;
use sentinel_core::{Address, Applied, CoordinationStore as _, Grant, State, StoreError};
use sentinel_postgres::PostgresStore;
use sentinel_testbed::postgres::Options;
use sentinel_testbed::{Mode, PgBouncer, Postgres, until};
use tokio::task::JoinHandle;

use sentinel_store_tests::fixtures::{
    abandon, call, complete, execution, force, fused, hold, label, lease, reconcile, result,
};

use crate::fixtures::crash;

/// Longer than any wait of these tests.
const PATIENT: Duration = Duration::from_secs(120);

struct Pair {
    primary: Postgres,
    standby: Postgres,
    store: PostgresStore,
}

impl Pair {
    async fn start() -> Self {
        let primary = Postgres::start(Options::default());
        let store = PostgresStore::builder(&primary.url()).init().await.unwrap();
        drop(store);
        let standby = primary.standby("second", true);
        let store = PostgresStore::builder(&primary.url()).deadline(PATIENT).open().await.unwrap();
        Self { primary, standby, store }
    }

    /// The backend whose commit waits for the standby.
    fn waiting(&self) -> Option<u32> {
        let sql = "select pid from pg_stat_activity where wait_event = 'SyncRep' and backend_type = 'client backend'";
        self.primary.psql(sql).lines().next().map(|pid| pid.parse().unwrap())
    }

    /// Waits until a request's commit waits for the standby, which it must.
    fn until_waiting<T>(&self, request: &JoinHandle<T>) -> u32 {
        let mut found = None;
        until("the commit waits for the standby", || {
            found = self.waiting();
            found.is_some() || request.is_finished()
        });
        assert!(!request.is_finished(), "it was answered without the standby");
        found.unwrap()
    }

    /// Sends a request while the standby is paused, and crashes the server under it: the commit is on the primary, and
    /// only here. The standby stays paused.
    async fn strand<T: std::fmt::Debug + Send + 'static>(
        &self,
        request: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) {
        self.standby.pause();
        let request = tokio::spawn(request);
        crash(&self.primary, self.until_waiting(&request));
        let error = request.await.unwrap().expect_err("nothing was confirmed");
        assert_eq!(error.applied(), Applied::Ambiguous, "{error}");
    }

    /// Sends a request that must wait for the standby although its effect is there; then lets the standby go on.
    async fn passes_the_barrier<T: Send + 'static>(
        &self,
        request: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> T {
        let request = tokio::spawn(request);
        self.until_waiting(&request);
        self.standby.resume();
        request.await.unwrap().unwrap()
    }

    fn state_of(&self, address: &Address) -> String {
        self.primary.psql(&format!("select state from sentinel.records where key = '{}'", address.key))
    }
}

/// A request that can be sent again.
macro_rules! request {
    ($store:expr, $method:ident, $address:expr, $op:expr) => {{
        let (store, address, op) = ($store.clone(), $address.clone(), $op.clone());
        async move { store.$method(&address, &op).await }
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_begin_waits_for_the_standby() {
    let pair = Pair::start().await;
    let address = execution("begun");
    let begin = Begin { grant: hold(&pair.store, &address, Phase::Claimed).await };
    pair.strand(request!(pair.store, begin, address, begin)).await;
    assert_eq!(pair.state_of(&address), "executing");
    let again = pair.passes_the_barrier(request!(pair.store, begin, address, begin)).await;
    assert!(matches!(again.reply, BeginReply::Begun(_)), "{again:?}");
    assert!(!again.stamp.changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_fused_claim_waits_for_the_standby() {
    let pair = Pair::start().await;
    let (address, claim) = (execution("fused"), fused());
    pair.strand(request!(pair.store, claim, address, claim)).await;
    assert_eq!(pair.state_of(&address), "executing");
    let again = pair.passes_the_barrier(request!(pair.store, claim, address, claim)).await;
    assert!(matches!(again.reply, ClaimReply::Granted(_)) && !again.stamp.changed, "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_completion_waits_for_the_standby() {
    let pair = Pair::start().await;
    let address = execution("completed");
    let complete = complete(hold(&pair.store, &address, Phase::Executing).await, "once");
    pair.strand(request!(pair.store, complete, address, complete)).await;
    assert_eq!(pair.state_of(&address), "completed");
    let again = pair.passes_the_barrier(request!(pair.store, complete, address, complete)).await;
    assert!(
        matches!(again.reply, CompleteReply::Recorded { late: false }) && !again.stamp.changed,
        "{again:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_waits_for_the_standby() {
    let pair = Pair::start().await;
    let address = execution("replayed");
    let complete = complete(hold(&pair.store, &address, Phase::Executing).await, "once");
    pair.strand(request!(pair.store, complete, address, complete)).await;
    let claim = call();
    let replay = pair.passes_the_barrier(request!(pair.store, claim, address, claim)).await;
    assert_eq!(replay.reply, ClaimReply::Completed { result: result("once"), remaining: None });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_decision_waits_for_the_standby() {
    let pair = Pair::start().await;
    let address = execution("decided");
    let grant = hold(&pair.store, &address, Phase::Executing).await;
    pair.store.abandon(&address, &abandon(grant)).await.unwrap();
    let decision = reconcile(grant.token);
    pair.strand(request!(pair.store, reconcile, address, decision)).await;
    assert_eq!(pair.state_of(&address), "reconciling");
    let again = pair.passes_the_barrier(request!(pair.store, reconcile, address, decision)).await;
    assert!(matches!(again.reply, ReconcileReply::Taken { .. }) && !again.stamp.changed, "{again:?}");
    let verdict = force(again.stamp.token, "it did happen");
    pair.strand(request!(pair.store, force_complete, address, verdict)).await;
    let again = pair.passes_the_barrier(request!(pair.store, force_complete, address, verdict)).await;
    assert_eq!((again.reply, again.stamp.changed), (ForceCompleteReply::Completed, false));
}

/// An operator cancels the wait. The server reports success, and warns.
async fn cancelled_waits(pair: &Pair, store: &PostgresStore, key: &str) {
    let address = execution(key);
    let complete = complete(hold(store, &address, Phase::Executing).await, "once");
    pair.standby.pause();
    let request = tokio::spawn(request!(store, complete, address, complete));
    let backend = pair.until_waiting(&request);
    pair.primary.psql(&format!("select pg_cancel_backend({backend})"));
    let error = request.await.unwrap().expect_err("the standby has confirmed nothing");
    assert_eq!(error.applied(), Applied::Ambiguous, "{error}");
    assert!(error.to_string().contains("synchronous standby"), "{error}");
    assert_eq!(pair.state_of(&address), "completed");
    let again = pair.passes_the_barrier(request!(store, complete, address, complete)).await;
    assert!(matches!(again.reply, CompleteReply::Recorded { .. }) && !again.stamp.changed, "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_wait_for_the_standby_is_ambiguous() {
    let pair = Pair::start().await;
    cancelled_waits(&pair, &pair.store, "direct").await;
    let bouncer = PgBouncer::start(&pair.primary, Default::default());
    let pooled = PostgresStore::builder(&bouncer.url()).deadline(PATIENT).open().await.unwrap();
    cancelled_waits(&pair, &pooled, "pooled").await;
}

/// Holds a lease and completes, begins and decides some executions; returns what was acknowledged.
async fn acknowledged(store: &PostgresStore) -> (Grant, Grant) {
    let held = hold(store, &lease("held"), Phase::Claimed).await;
    let begun = hold(store, &execution("begun"), Phase::Executing).await;
    let done = hold(store, &execution("done"), Phase::Executing).await;
    store.complete(&execution("done"), &complete(done, "done")).await.unwrap();
    (held, begun)
}

async fn evicted(store: &PostgresStore, seen: Grant) -> u64 {
    let evict = Evict {
        op_id: sentinel_core::OpId::random(),
        operator: label("ada"),
        reason: None,
        expect: seen.token,
    };
    store.evict(&lease("held"), &evict).await.unwrap().stamp.token.get()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_to_the_synchronous_standby_loses_nothing() {
    let pair = Pair::start().await;
    let health = pair.store.health().await.unwrap();
    assert_eq!(health.deployment, "PostgreSQL with a synchronous standby, failover only to it");
    assert!(health.checks.iter().all(|check| check.ok), "{health:?}");
    let (held, begun) = acknowledged(&pair.store).await;
    pair.primary.kill9();
    pair.standby.promote();
    let store = PostgresStore::connect(&pair.standby.url()).await.unwrap();
    let record = store.inspect(&execution("begun")).await.unwrap().record.unwrap();
    assert_eq!((record.state, record.token), (State::Executing, begun.token));
    let done = store.claim(&execution("done"), &call()).await.unwrap();
    assert_eq!(done.reply, ClaimReply::Completed { result: result("done"), remaining: None });
    assert!(evicted(&store, held).await > held.token.get());
    let health = store.health().await.unwrap();
    let line = health.checks.iter().find(|check| check.name == "time line").unwrap();
    assert!(line.found.starts_with("2; it was 1 when the schema was made"), "{line:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_to_an_asynchronous_standby_loses_writes_and_is_reported_and_tokens_increase() {
    let primary = Postgres::start(Options::default());
    let store = PostgresStore::builder(&primary.url()).init().await.unwrap();
    let standby = primary.standby("behind", false);
    let held = hold(&store, &lease("held"), Phase::Claimed).await;
    until("the standby has the lease", || standby.psql("select count(*) from sentinel.records") == "1");
    standby.stop(Mode::Fast);
    let lost = hold(&store, &execution("lost"), Phase::Executing).await;
    let taken = evicted(&store, held).await;
    primary.kill9();
    standby.start_again();
    standby.promote();
    let store = PostgresStore::connect(&standby.url()).await.unwrap();
    assert!(
        store.inspect(&execution("lost")).await.unwrap().record.is_none(),
        "the loss is what this test is about"
    );
    assert!(hold(&store, &execution("lost"), Phase::Executing).await.token > lost.token);
    assert!(evicted(&store, held).await > taken);
    let health = store.health().await.unwrap();
    let line = health.checks.iter().find(|check| check.name == "time line").unwrap();
    assert!(line.found.contains("a standby took over"), "{line:?}");
}
