//! What can happen on the way to a server.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sentinel_core::operation::*;
use sentinel_core::store::Purge;
use sentinel_core::{Address, Applied, CoordinationStore as _, ErrorKind, OpId, StoreError};
use sentinel_redis::RedisStore;
use sentinel_testbed::redis::Options;
use sentinel_testbed::{Proxy, Redis, until};

use crate::faults::*;

/// A server of its own, a proxy before it, and two stores: one behind the proxy, and one beside it.
struct Scene {
    server: Redis,
    proxy: Proxy,
    store: RedisStore,
    beside: RedisStore,
}

impl Scene {
    async fn open(deadline: Duration) -> Self {
        let server = Redis::start(Options::default());
        let proxy = Proxy::start(server.port());
        let beside = RedisStore::init(&server.url()).await.unwrap();
        let url = server.url_at(proxy.port());
        let store = RedisStore::builder(&url).deadline(deadline).open().await.unwrap();
        // All connections are made, and all scripts known.
        let address = lease("first");
        let grant = hold(&store, &address, Phase::Claimed).await;
        store.heartbeat(&[Beat { address, grant }]).await.unwrap();
        Self { server, proxy, store, beside }
    }

    /// How often scripts were called.
    fn calls(&self) -> u64 {
        let told = self.server.info("cmdstat_evalsha");
        let calls = told.split(',').find_map(|part| part.strip_prefix("calls="));
        calls.map_or(0, |calls| calls.parse().unwrap())
    }

    async fn events(&self, address: &Address) -> usize {
        self.beside.history(address, 100).await.unwrap().len()
    }

    /// Asks while the way back is swallowed, then again. It took effect with the first, once; the second was told so.
    async fn once<T, F>(&self, address: &Address, ask: impl Fn() -> F, events: usize) -> T
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: std::fmt::Debug + Send + 'static,
    {
        // Whoever is new at the end of a connection is looked at now, and not meanwhile.
        self.store.inspect(address).await.unwrap();
        let (before, calls) = (self.events(address).await, self.calls());
        let swallowed = self.proxy.replies().swallowed();
        self.proxy.replies().swallow();
        let lost = tokio::spawn(ask());
        let replies = self.proxy.replies();
        tokio::task::block_in_place(|| until("it was answered", || replies.swallowed() > swallowed));
        self.proxy.cut();
        self.proxy.heal();
        is_ambiguous(lost.await.unwrap());
        assert_eq!(self.calls(), calls + 1, "it was sent again by somebody");
        assert_eq!(self.events(address).await, before + events);
        let told = ask().await.unwrap();
        assert_eq!(self.events(address).await, before + events, "{told:?}");
        told
    }

    /// The same for an operation on one record.
    async fn twice<R, F>(&self, address: &Address, ask: impl Fn(RedisStore, Address) -> F) -> R
    where
        F: Future<Output = Result<Stamped<R>, StoreError>> + Send + 'static,
        R: std::fmt::Debug + Send + 'static,
    {
        let told = self.once(address, || ask(self.store.clone(), address.clone()), 1).await;
        assert!(!told.stamp.changed, "{told:?}");
        told.reply
    }

    async fn begun(&self, address: &Address) -> sentinel_core::Grant {
        hold(&self.beside, address, Phase::Executing).await
    }

    async fn reconciling(&self, address: &Address) -> sentinel_core::Token {
        let grant = self.begun(address).await;
        self.beside.abandon(address, &abandon(grant)).await.unwrap();
        self.beside.reconcile(address, &reconcile(grant.token)).await.unwrap().stamp.token
    }
}

/// Asks a store for an operation, as often as it is called.
macro_rules! ask {
    ($name:ident, $op:expr) => {{
        let op = $op;
        move |store: RedisStore, address: Address| {
            let op = op.clone();
            async move { store.$name(&address, &op).await }
        }
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_whose_reply_was_swallowed_is_answered_all_the_same() {
    let scene = Scene::open(AT_LAST).await;
    let (store, address, swallowed) =
        (scene.store.clone(), lease("first"), scene.proxy.replies().swallowed());
    scene.proxy.replies().swallow();
    let look = tokio::spawn(async move { store.inspect(&address).await });
    let replies = scene.proxy.replies();
    tokio::task::block_in_place(|| until("it was answered", || replies.swallowed() > swallowed));
    scene.proxy.cut();
    scene.proxy.heal();
    assert!(look.await.unwrap().unwrap().record.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_asks_for_takes_effect_once_although_the_reply_was_swallowed() {
    let scene = Scene::open(AT_LAST).await;
    let (address, claim) = (execution("worked on"), call(Phase::Claimed));
    let grant = granted(&claim, &scene.twice(&address, ask!(claim, claim.clone())).await);
    let told = scene.twice(&address, ask!(begin, Begin { grant })).await;
    assert!(matches!(told, BeginReply::Begun(_)), "{told:?}");
    let told = scene.twice(&address, ask!(complete, complete(grant, "done"))).await;
    assert_eq!(told, CompleteReply::Recorded { late: false });

    let address = execution("given up");
    let grant = scene.begun(&address).await;
    let told = scene.twice(&address, ask!(release, Release { grant, vouched: true })).await;
    assert_eq!(told, ReleaseReply::Released);
    let grant = scene.begun(&address).await;
    let told = scene.twice(&address, ask!(abandon, abandon(grant))).await;
    assert_eq!(told, AbandonReply::Abandoned);

    let address = execution("called off");
    let claim_id = scene.begun(&address).await.claim_id;
    let told = scene.twice(&address, ask!(cancel, Cancel { claim_id })).await;
    assert_eq!(told, CancelReply::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_takes_effect_once_although_the_reply_was_swallowed() {
    let scene = Scene::open(AT_LAST).await;
    let address = execution("happened");
    let grant = scene.begun(&address).await;
    scene.beside.abandon(&address, &abandon(grant)).await.unwrap();
    let told = scene.twice(&address, ask!(reconcile, reconcile(grant.token))).await;
    let ReconcileReply::Taken { token, .. } = told else { panic!("{told:?}") };
    let told = scene.twice(&address, ask!(force_complete, force(token, "it did"))).await;
    assert_eq!(told, ForceCompleteReply::Completed);

    let address = execution("did not happen");
    let token = scene.reconciling(&address).await;
    let (op_id, operator) = (OpId::random(), label("ada"));
    let reset = ResetToClaimed { op_id, token, operator, reason: None, accept_overlap: true };
    let told = scene.twice(&address, ask!(reset_to_claimed, reset)).await;
    assert!(matches!(told, ResetReply::Reset { token: drawn } if drawn > token), "{told:?}");

    let address = lease("held");
    let expect = hold(&scene.beside, &address, Phase::Claimed).await.token;
    let evict = Evict { op_id: OpId::random(), operator: label("ada"), reason: None, expect };
    let told = scene.twice(&address, ask!(evict, evict)).await;
    assert!(matches!(told, EvictReply::Evicted { token } if token > expect), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_and_purges_do_no_more_when_their_replies_were_swallowed() {
    let scene = Scene::open(AT_LAST).await;
    let address = lease("held");
    let grant = hold(&scene.beside, &address, Phase::Claimed).await;
    let until_then = async || scene.beside.inspect(&address).await.unwrap().record.unwrap().lease_until;
    let before = until_then().await;
    let beat = || {
        let (store, address) = (scene.store.clone(), address.clone());
        async move { store.heartbeat(&[Beat { address, grant }]).await }
    };
    let told = scene.once(&address, beat, 0).await;
    assert!(matches!(told[0].reply, HeartbeatReply::Kept { .. }), "{told:?}");
    assert!(until_then().await > before);

    let address = execution("served");
    scene.beside.cancel(&address, &Cancel { claim_id: call(Phase::Claimed).claim_id }).await.unwrap();
    let offset = Arc::new(std::sync::atomic::AtomicI64::new(2 * 3600 * 1_000_000));
    let later = RedisStore::builder(&scene.server.url_at(scene.proxy.port())).clock_offset(offset);
    let later = later.deadline(AT_LAST).open().await.unwrap();
    let purge = Purge { namespace: address.namespace.clone(), limit: 10, dry_run: false };
    assert_eq!(later.purge(&Purge { dry_run: true, ..purge.clone() }).await.unwrap().records, 1);
    // A purge is many calls, each sent once: whichever of them is lost, another purge finds what is left to do.
    let mut purged = false;
    while !purged {
        let (purge, later) = (purge.clone(), later.clone());
        let passed = scene.proxy.replies().passed();
        let asked = tokio::spawn(async move { later.purge(&purge).await });
        let replies = scene.proxy.replies();
        tokio::task::block_in_place(|| until("some of it was answered", || replies.passed() > passed));
        scene.proxy.cut();
        purged = asked.await.unwrap().is_ok();
    }
    assert!(scene.beside.inspect(&address).await.unwrap().record.is_none());
    assert_eq!(scene.events(&address).await, 1, "one event tells of the purge");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_off_at_any_byte_takes_effect_once_or_not_at_all() {
    let scene = Scene::open(AT_LAST).await;
    for bytes in (0..400).step_by(23) {
        let (address, claim) = (execution(&format!("after {bytes}")), call(Phase::Executing));
        scene.proxy.requests().cut_after(bytes);
        let answer = scene.store.claim(&address, &claim).await;
        scene.proxy.heal();
        let events = scene.events(&address).await;
        match answer {
            Ok(_) => assert_eq!(events, 1),
            Err(error) if error.applied() == Applied::No => assert_eq!(events, 0, "{error}"),
            lost => is_ambiguous(lost),
        }
        let told = scene.store.claim(&address, &claim).await.unwrap();
        granted(&claim, &told.reply);
        assert_eq!(scene.events(&address).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_not_applied() {
    let scene = Scene::open(SOON).await;
    scene.proxy.refuse();
    scene.proxy.cut();
    let (address, claim) = (execution("key"), call(Phase::Executing));
    until_refused(&scene.store).await;
    is_not_applied(scene.store.claim(&address, &claim).await, ErrorKind::Unreachable);
    let opened = RedisStore::builder(&scene.server.url_at(scene.proxy.port())).deadline(SOON).open();
    is_not_applied(opened.await, ErrorKind::Unreachable);
    assert_eq!(scene.events(&address).await, 0);
    scene.proxy.heal();
    until_answered(&scene.store).await;
    granted(&claim, &scene.store.claim(&address, &claim).await.unwrap().reply);
}

/// Until the connection knows that it was cut: what is asked before may have left, and is never called refused or done.
async fn until_refused(store: &RedisStore) {
    let refused = async || match store.claim(&execution("other"), &call(Phase::Executing)).await {
        Err(error) if error.applied() == Applied::No => true,
        lost => {
            is_ambiguous(lost);
            false
        }
    };
    tokio::time::timeout(AT_LAST, async { while !refused().await {} }).await.expect("it is refused at last");
}

async fn until_answered(store: &RedisStore) {
    tokio::time::timeout(AT_LAST, async { while store.inspect(&execution("any")).await.is_err() {} })
        .await
        .expect("it is answered again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_is_ambiguous_and_what_is_not_sent_yet_is_not() {
    let scene = Scene::open(SOON).await;
    let (address, claim) = (execution("key"), call(Phase::Executing));
    scene.proxy.black_hole();
    let asked = tokio::time::timeout(AT_LAST, scene.store.claim(&address, &claim)).await;
    is_ambiguous(asked.expect("it is given up"));
    // Who has to look at the server first has not asked for anything yet.
    let newcomer = RedisStore::builder(&scene.server.url_at(scene.proxy.port())).deadline(SOON).open();
    is_not_applied(newcomer.await, ErrorKind::Unreachable);
    assert_eq!(scene.events(&address).await, 0);
    scene.proxy.heal();
    scene.proxy.cut();
    until_answered(&scene.store).await;
    granted(&claim, &scene.store.claim(&address, &claim).await.unwrap().reply);
    assert_eq!(scene.events(&address).await, 1);
}

#[tokio::test]
async fn a_look_that_is_lost_has_not_applied_what_it_was_for() {
    let scene = Scene::open(SOON).await;
    scene.proxy.black_hole();
    a_while_later().await;
    is_not_applied(scene.store.claim(&execution("key"), &call(Phase::Claimed)).await, ErrorKind::Unreachable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_duplicate_makes_no_ghost() {
    let scene = Scene::open(SOON).await;
    let (address, claim) = (execution("key"), call(Phase::Executing));
    scene.proxy.requests().hold();
    is_ambiguous(scene.store.claim(&address, &claim).await);
    assert_eq!(scene.events(&address).await, 0, "it has not arrived");
    let cancel = Cancel { claim_id: claim.claim_id };
    let cancelled = scene.beside.cancel(&address, &cancel).await.unwrap();
    assert_eq!(cancelled.reply, CancelReply::Cancelled);
    let calls = scene.calls();
    scene.proxy.heal();
    let arrived = || scene.calls() > calls || scene.proxy.requests().waiting() == 0;
    tokio::task::block_in_place(|| until("it has arrived", arrived));
    assert_eq!(scene.events(&address).await, 1);
    let again = scene.beside.claim(&address, &claim).await.unwrap();
    assert_eq!(again.reply, ClaimReply::AlreadyReleased);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_way_is_no_fault() {
    let scene = Scene::open(AT_LAST).await;
    scene.proxy.replies().delay(Duration::from_millis(200));
    scene.proxy.requests().delay(Duration::from_millis(200));
    let address = execution("key");
    let grant = hold(&scene.store, &address, Phase::Executing).await;
    scene.store.complete(&address, &complete(grant, "done")).await.unwrap();
    assert_eq!(scene.events(&address).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_takes_nothing_back() {
    let scene = Scene::open(AT_LAST).await;
    let (address, claim) = (execution("key"), call(Phase::Executing));
    let requests = scene.proxy.requests();
    requests.hold();
    {
        let asked = scene.store.claim(&address, &claim);
        let mut asked = std::pin::pin!(asked);
        while requests.waiting() == 0 {
            let polled = futures_util::poll!(asked.as_mut());
            assert!(polled.is_pending(), "{polled:?}");
            tokio::task::yield_now().await;
        }
    }
    requests.pass();
    // Nobody waits for it, and it is carried out, whole.
    tokio::time::timeout(AT_LAST, async { while scene.events(&address).await == 0 {} }).await.unwrap();
    let told = scene.store.claim(&address, &claim).await.unwrap();
    granted(&claim, &told.reply);
    assert!(!told.stamp.changed);
    assert_eq!(scene.events(&address).await, 1);
}
