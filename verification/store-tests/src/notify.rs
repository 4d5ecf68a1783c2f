//! Notifications between processes: a waiter for a run of another process learns of its end by a message.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use sentinel_client::{Outcome, Sentinel};
use sentinel_conformance::{Layer, Layered};
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::store::{Inspection, Notice};
use sentinel_core::{Address, CoordinationStore, Grant, Key, Kind, Namespace, OpId, StoreError, Token};
use tokio::sync::{OnceCell, oneshot};
use tokio::task::JoinHandle;

use crate::fixtures::{abandon, call, claimed, complete, force, fused, label, reconcile};

/// How long a test waits at most.
pub const MINUTE: Duration = Duration::from_secs(60);

/// What a call of these tests returns.
pub type CallOutcome = Outcome<String, String>;

/// A store's deployment, for a test of its own.
#[async_trait]
pub trait Notifying: Sized + Send + Sync + 'static {
    /// The store.
    type Store: CoordinationStore + Clone + 'static;

    /// A deployment with this name, without stores.
    fn start(name: &str) -> Self;

    /// A store there with connections of its own, as another process has it.
    async fn open(&self) -> Self::Store;

    /// Whether the connections are open by which `theirs` sends messages about the address and `ours` receives them.
    fn is_listening(theirs: &Self::Store, ours: &Self::Store, address: &Address) -> bool;

    /// Whether the store would send a message about a change, because a process waits.
    fn knows_of_a_waiter(store: &Self::Store) -> bool;

    /// The ids of the connections on which stores listen.
    fn listeners(&self) -> BTreeSet<String>;

    /// Closes these connections from the server's side.
    fn kill(&self, listeners: &BTreeSet<String>);
}

/// Makes the tests of a [`Notifying`] deployment.
#[macro_export]
macro_rules! notify_tests {
    ($deployment:ty) => {
        $crate::notify_tests! { $deployment:
            a_result_wakes_waiters_in_another_process,
            a_wait_reports_whether_it_was_subscribed,
            a_listening_connection_that_was_killed_is_replaced,
            a_dropped_store_stops_listening,
            every_operation_that_ends_a_run_notifies_waiters,
        }

        #[test]
        fn a_waiter_on_another_runtime_is_notified() {
            $crate::notify::a_waiter_on_another_runtime_is_notified::<$deployment>();
        }
    };
    ($deployment:ty: $($test:ident,)*) => {$(
        #[test]
        fn $test() {
            $crate::notify::two_threads().block_on($crate::notify::$test::<$deployment>());
        }
    )*};
}

/// A runtime of two threads: a server's program that a test waits for does not stop the store's tasks.
pub fn two_threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Waits for a condition that comes true by itself.
///
/// # Panics
/// If it does not in a minute.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited a minute in vain until {what}");
}

/// An execution in the namespace that a client has by default.
pub fn address(key: &str) -> Address {
    Address::execution(Namespace::new("default").unwrap(), Key::new(key).unwrap())
}

/// A client whose reads of a record return what the first one returned: only a message can notify it that a run has
/// ended.
#[derive(Debug)]
pub struct Blind {
    store: Arc<dyn CoordinationStore>,
    first: OnceCell<Inspection>,
    reads: AtomicU32,
}

impl Blind {
    /// A client over the store, and the layer between them.
    pub fn client(store: &(impl CoordinationStore + Clone + 'static)) -> (Arc<Layered<Self>>, Sentinel) {
        let (first, reads) = Default::default();
        let blind = Arc::new(Layered(Self { store: Arc::new(store.clone()), first, reads }));
        (blind.clone(), Sentinel::new(blind))
    }
}

#[async_trait]
impl Layer for Blind {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.store
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        op.send(&*self.store, address).await
    }

    async fn on_inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let first = self.first.get_or_try_init(|| self.store.inspect(address)).await?;
        Ok(Inspection { record: first.record.clone(), now: first.now })
    }
}

/// Starts a run that ends on request, and waits until it has begun.
pub async fn start(client: &Sentinel, key: &str) -> (oneshot::Sender<()>, JoinHandle<CallOutcome>) {
    let (begun, began) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let once = client.once::<String>(key).ttl(MINUTE * 10);
    let run = tokio::spawn(async move {
        let run = once.run(|_| async move {
            begun.send(()).unwrap();
            ended.await.unwrap();
            Ok("receipt".to_owned())
        });
        run.await.unwrap()
    });
    began.await.unwrap();
    (end, run)
}

/// Joins a run, for a minute at most.
pub fn join(client: &Sentinel, key: &str) -> JoinHandle<CallOutcome> {
    let once = client.once::<String>(key).wait(MINUTE);
    tokio::spawn(async move { once.run(|_| async { Ok("ran twice".to_owned()) }).await.unwrap() })
}

/// Checks that the caller who joined got the result of the run.
pub async fn assert_replayed(joined: JoinHandle<CallOutcome>) {
    let outcome = joined.await.unwrap();
    assert!(matches!(&outcome, Outcome::Replayed(receipt) if receipt == "receipt"), "{outcome:?}");
}

/// Waits until a message came, for a minute at most from when the store listens.
pub async fn wait(store: &dyn CoordinationStore, at: &Address) -> Notice {
    for _ in 0..3 {
        // A wait ends early when its connection or its subscription is there.
        if store.changed(at, MINUTE).await == Notice::Changed {
            return Notice::Changed;
        }
    }
    Notice::Listening
}

/// A result notifies all waiters of another process.
pub async fn a_result_wakes_waiters_in_another_process<N: Notifying>() {
    let deployment = N::start("wakes");
    let (theirs, ours) = (deployment.open().await, deployment.open().await);
    let (end, _run) = start(&Sentinel::new(theirs.clone()), "k").await;
    let (blind, client) = Blind::client(&ours);
    let joined = [join(&client, "k"), join(&client, "k")];
    until("both listen", || N::is_listening(&theirs, &ours, &address("k"))).await;
    until("a process waits", || N::knows_of_a_waiter(&theirs)).await;
    // The wait that ended because the store listens is over, and the next one has begun: a read comes after it. Between
    // the two, a message is missed; another client's next read finds the change, this one's does not.
    let reads = || blind.0.reads.load(Ordering::SeqCst);
    let before = reads();
    until("it waits again", || reads() > before).await;
    end.send(()).unwrap();
    for joined in joined {
        assert_replayed(joined).await;
    }
}

/// The first wait ends when the store listens: a change before that was not reported. Later waits last.
pub async fn a_wait_reports_whether_it_was_subscribed<N: Notifying>() {
    let deployment = N::start("notices");
    let store = deployment.open().await;
    let at = address("k");
    assert_eq!(store.changed(&at, MINUTE).await, Notice::Listening);
    assert!(N::is_listening(&store, &store, &at));
    assert_eq!(store.changed(&at, Duration::from_millis(100)).await, Notice::Listening);
}

/// A connection that the server closed is replaced, again and again.
pub async fn a_listening_connection_that_was_killed_is_replaced<N: Notifying>() {
    let deployment = N::start("killed");
    let (theirs, ours) = (deployment.open().await, deployment.open().await);
    let (end, _run) = start(&Sentinel::new(theirs.clone()), "k").await;
    let (_, client) = Blind::client(&ours);
    let joined = join(&client, "k");
    let is_listening = || N::is_listening(&theirs, &ours, &address("k"));
    until("both listen", is_listening).await;
    for _ in 0..3 {
        let before = deployment.listeners();
        assert!(!before.is_empty());
        deployment.kill(&before);
        let is_replaced = || {
            let now = deployment.listeners();
            now.len() == before.len() && now.is_disjoint(&before)
        };
        until("others listen", is_replaced).await;
        until("the stores have noticed", is_listening).await;
    }
    end.send(()).unwrap();
    assert_replayed(joined).await;
}

/// A store that is gone leaves no connection behind.
pub async fn a_dropped_store_stops_listening<N: Notifying>() {
    let deployment = N::start("dropped");
    let store = deployment.open().await;
    assert_eq!(deployment.listeners().len(), 0, "no caller has waited yet");
    let (end, run) = start(&Sentinel::new(store.clone()), "k").await;
    assert_ne!(store.changed(&address("k"), MINUTE).await, Notice::Polling);
    assert_eq!(deployment.listeners().len(), 1);
    end.send(()).unwrap();
    assert!(matches!(run.await.unwrap(), Outcome::Completed(_)));
    drop(store);
    until("its connection has ended", || deployment.listeners().is_empty()).await;
}

/// A connection that ended with its runtime is replaced on another one.
pub fn a_waiter_on_another_runtime_is_notified<N: Notifying>() {
    let runtime = crate::fixtures::runtime;
    let first = runtime();
    let deployment = N::start("runtimes");
    let store = first.block_on(deployment.open());
    assert_eq!(first.block_on(store.changed(&address("k"), MINUTE)), Notice::Listening);
    drop(first);
    let second = runtime();
    assert!(!N::is_listening(&store, &store, &address("k")), "it ended with its runtime");
    assert_eq!(second.block_on(store.changed(&address("k"), MINUTE)), Notice::Listening);
}

/// Callers who wait through stores that get no notifications poll.
pub async fn waiters_poll<N: Notifying>(theirs: &N::Store, ours: &N::Store) {
    let (end, run) = start(&Sentinel::new(theirs.clone()), "k").await;
    let joined = join(&Sentinel::new(ours.clone()), "k");
    assert_eq!(ours.changed(&address("k"), Duration::from_millis(200)).await, Notice::Polling);
    end.send(()).unwrap();
    assert!(
        matches!(run.await.unwrap(), Outcome::Completed(_)),
        "a result is recorded without notifications"
    );
    assert_replayed(joined).await;
    assert!(!N::is_listening(theirs, theirs, &address("k")) && !N::is_listening(ours, ours, &address("k")));
}

const ENDS: [&str; 8] =
    ["complete", "cancel", "release", "abandon", "reconcile", "force_complete", "reset_to_claimed", "evict"];

/// A claimed record that can be ended by this operation.
async fn prepare(store: &dyn CoordinationStore, at: &Address, end: &str) -> Grant {
    let claim = if at.kind == Kind::Lease { call() } else { fused() };
    let grant = claimed(store, at, &claim).await;
    if matches!(end, "reconcile" | "force_complete" | "reset_to_claimed") {
        store.abandon(at, &abandon(grant)).await.unwrap();
    }
    if matches!(end, "force_complete" | "reset_to_claimed") {
        let taken = store.reconcile(at, &reconcile(grant.token)).await.unwrap();
        return Grant { token: taken.stamp.token, ..grant };
    }
    grant
}

/// Sends the operation. Returns whether it changed the record.
async fn end(store: &dyn CoordinationStore, at: &Address, end: &str, grant: Grant) -> bool {
    let (token, op_id, operator): (Token, _, _) = (grant.token, OpId::random(), label("ada"));
    let stamp = match end {
        "complete" => store.complete(at, &complete(grant, "done")).await.unwrap().stamp,
        "cancel" => store.cancel(at, &Cancel { claim_id: grant.claim_id }).await.unwrap().stamp,
        "release" => store.release(at, &Release { grant, vouched: true }).await.unwrap().stamp,
        "abandon" => store.abandon(at, &abandon(grant)).await.unwrap().stamp,
        "reconcile" => store.reconcile(at, &reconcile(token)).await.unwrap().stamp,
        "force_complete" => store.force_complete(at, &force(token, "done")).await.unwrap().stamp,
        "reset_to_claimed" => {
            let reset = ResetToClaimed { op_id, token, operator, reason: None, accept_overlap: false };
            store.reset_to_claimed(at, &reset).await.unwrap().stamp
        }
        "evict" => {
            let evict = Evict { op_id, operator, reason: None, expect: token };
            store.evict(at, &evict).await.unwrap().stamp
        }
        other => panic!("no operation of this name ends a run: {other}"),
    };
    stamp.changed
}

/// Each operation that ends a run notifies waiters of another process.
pub async fn every_operation_that_ends_a_run_notifies_waiters<N: Notifying>() {
    let deployment = N::start("ends");
    let (theirs, ours) = (deployment.open().await, deployment.open().await);
    for operation in ENDS {
        let kind = if operation == "evict" { Kind::Lease } else { Kind::Execution };
        let at = Address { kind, ..address(operation) };
        let grant = prepare(&theirs, &at, operation).await;
        // Changes until now were reported.
        while ours.changed(&at, Duration::from_millis(200)).await != Notice::Listening {}
        let (waiter, key) = (ours.clone(), at.clone());
        let mut waiting = Box::pin(async move { wait(&waiter, &key).await });
        // From its first poll on it is notified.
        let polled = poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await;
        assert!(polled.is_pending(), "{operation}");
        let waiting = tokio::spawn(waiting);
        until("both listen", || N::is_listening(&theirs, &ours, &at)).await;
        until("a process waits", || N::knows_of_a_waiter(&theirs)).await;
        assert!(!waiting.is_finished());
        assert!(end(&theirs, &at, operation, grant).await, "{operation} changed nothing");
        assert_eq!(waiting.await.unwrap(), Notice::Changed, "{operation}");
    }
}
