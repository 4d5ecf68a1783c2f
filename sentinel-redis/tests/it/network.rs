//! Faults of the network between a store and its server.

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

/// A server of its own, a proxy in front of it, and two stores: one through the proxy, and one without it.
struct Fixture {
    server: Redis,
    proxy: Proxy,
    store: RedisStore,
    beside: RedisStore,
}

impl Fixture {
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
        let stamped = self.server.info("cmdstat_evalsha");
        let calls = stamped.split(',').find_map(|part| part.strip_prefix("calls="));
        calls.map_or(0, |calls| calls.parse().unwrap())
    }

    async fn events(&self, address: &Address) -> usize {
        self.beside.history(address, 100).await.unwrap().len()
    }

    /// Sends a request whose reply is dropped, then sends it again. The first took effect, once; the second gets the
    /// same reply.
    async fn once<T, F>(&self, address: &Address, ask: impl Fn() -> F, events: usize) -> T
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: std::fmt::Debug + Send + 'static,
    {
        // The server of a new connection is checked now, and not meanwhile.
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
        assert_eq!(self.calls(), calls + 1, "it was sent again");
        assert_eq!(self.events(address).await, before + events);
        let stamped = ask().await.unwrap();
        assert_eq!(self.events(address).await, before + events, "{stamped:?}");
        stamped
    }

    /// The same for an operation on one record.
    async fn twice<R, F>(&self, address: &Address, ask: impl Fn(RedisStore, Address) -> F) -> R
    where
        F: Future<Output = Result<Stamped<R>, StoreError>> + Send + 'static,
        R: std::fmt::Debug + Send + 'static,
    {
        let stamped = self.once(address, || ask(self.store.clone(), address.clone()), 1).await;
        assert!(!stamped.stamp.changed, "{stamped:?}");
        stamped.reply
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
async fn a_read_whose_reply_was_lost_is_repeated() {
    let fixture = Fixture::open(AT_LAST).await;
    let (store, address, swallowed) =
        (fixture.store.clone(), lease("first"), fixture.proxy.replies().swallowed());
    fixture.proxy.replies().swallow();
    let read = tokio::spawn(async move { store.inspect(&address).await });
    let replies = fixture.proxy.replies();
    tokio::task::block_in_place(|| until("it was answered", || replies.swallowed() > swallowed));
    fixture.proxy.cut();
    fixture.proxy.heal();
    assert!(read.await.unwrap().unwrap().record.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workers_operation_takes_effect_once_although_its_reply_was_lost() {
    let fixture = Fixture::open(AT_LAST).await;
    let (address, claim) = (execution("worked on"), call());
    let grant = granted(&claim, &fixture.twice(&address, ask!(claim, claim.clone())).await);
    let reply = fixture.twice(&address, ask!(begin, Begin { grant })).await;
    assert!(matches!(reply, BeginReply::Begun(_)), "{reply:?}");
    let reply = fixture.twice(&address, ask!(complete, complete(grant, "done"))).await;
    assert_eq!(reply, CompleteReply::Recorded { late: false });

    let address = execution("given up");
    let grant = fixture.begun(&address).await;
    let reply = fixture.twice(&address, ask!(release, Release { grant, vouched: true })).await;
    assert_eq!(reply, ReleaseReply::Released);
    let grant = fixture.begun(&address).await;
    let reply = fixture.twice(&address, ask!(abandon, abandon(grant))).await;
    assert_eq!(reply, AbandonReply::Abandoned);

    let address = execution("called off");
    let claim_id = fixture.begun(&address).await.claim_id;
    let reply = fixture.twice(&address, ask!(cancel, Cancel { claim_id })).await;
    assert_eq!(reply, CancelReply::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_takes_effect_once_although_its_reply_was_lost() {
    let fixture = Fixture::open(AT_LAST).await;
    let address = execution("happened");
    let grant = fixture.begun(&address).await;
    fixture.beside.abandon(&address, &abandon(grant)).await.unwrap();
    let reply = fixture.twice(&address, ask!(reconcile, reconcile(grant.token))).await;
    let ReconcileReply::Taken { token, .. } = reply else { panic!("{reply:?}") };
    let reply = fixture.twice(&address, ask!(force_complete, force(token, "it did"))).await;
    assert_eq!(reply, ForceCompleteReply::Completed);

    let address = execution("did not happen");
    let token = fixture.reconciling(&address).await;
    let (op_id, operator) = (OpId::random(), label("ada"));
    let reset = ResetToClaimed { op_id, token, operator, reason: None, accept_overlap: true };
    let reply = fixture.twice(&address, ask!(reset_to_claimed, reset)).await;
    assert!(matches!(reply, ResetReply::Reset { token: drawn } if drawn > token), "{reply:?}");

    let address = lease("held");
    let expect = hold(&fixture.beside, &address, Phase::Claimed).await.token;
    let evict = Evict { op_id: OpId::random(), operator: label("ada"), reason: None, expect };
    let reply = fixture.twice(&address, ask!(evict, evict)).await;
    assert!(matches!(reply, EvictReply::Evicted { token } if token > expect), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_and_purges_are_not_repeated_when_their_replies_were_lost() {
    let fixture = Fixture::open(AT_LAST).await;
    let address = lease("held");
    let grant = hold(&fixture.beside, &address, Phase::Claimed).await;
    let until_then = async || fixture.beside.inspect(&address).await.unwrap().record.unwrap().lease_until;
    let before = until_then().await;
    let beat = || {
        let (store, address) = (fixture.store.clone(), address.clone());
        async move { store.heartbeat(&[Beat { address, grant }]).await }
    };
    let received = fixture.once(&address, beat, 0).await;
    assert!(matches!(received[0].reply, HeartbeatReply::Kept { .. }), "{received:?}");
    assert!(until_then().await > before);

    let address = execution("served");
    fixture.beside.cancel(&address, &Cancel { claim_id: call().claim_id }).await.unwrap();
    let offset = Arc::new(std::sync::atomic::AtomicI64::new(2 * 3600 * 1_000_000));
    let later = RedisStore::builder(&fixture.server.url_at(fixture.proxy.port())).clock_offset(offset);
    let later = later.deadline(AT_LAST).open().await.unwrap();
    let purge = Purge { namespace: address.namespace.clone(), limit: 10, dry_run: false };
    assert_eq!(later.purge(&Purge { dry_run: true, ..purge.clone() }).await.unwrap().records, 1);
    // A purge is many calls, each sent once: whichever of them is lost, another purge finds what is left to do.
    let mut purged = false;
    while !purged {
        let (purge, later) = (purge.clone(), later.clone());
        let passed = fixture.proxy.replies().passed();
        let asked = tokio::spawn(async move { later.purge(&purge).await });
        let replies = fixture.proxy.replies();
        tokio::task::block_in_place(|| until("some of it was answered", || replies.passed() > passed));
        fixture.proxy.cut();
        purged = asked.await.unwrap().is_ok();
    }
    assert!(fixture.beside.inspect(&address).await.unwrap().record.is_none());
    assert_eq!(fixture.events(&address).await, 1, "there is one event of the purge");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_cut_at_any_byte_takes_effect_at_most_once() {
    let fixture = Fixture::open(AT_LAST).await;
    for bytes in (0..400).step_by(23) {
        let (address, claim) = (execution(&format!("after {bytes}")), fused());
        fixture.proxy.requests().cut_after(bytes);
        let outcome = fixture.store.claim(&address, &claim).await;
        fixture.proxy.heal();
        let events = fixture.events(&address).await;
        match outcome {
            Ok(_) => assert_eq!(events, 1),
            Err(error) if error.applied() == Applied::No => assert_eq!(events, 0, "{error}"),
            lost => is_ambiguous(lost),
        }
        let stamped = fixture.store.claim(&address, &claim).await.unwrap();
        granted(&claim, &stamped.reply);
        assert_eq!(fixture.events(&address).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_not_applied() {
    let fixture = Fixture::open(SOON).await;
    fixture.proxy.refuse();
    fixture.proxy.cut();
    let (address, claim) = (execution("key"), fused());
    until_refused(&fixture.store).await;
    is_not_applied(fixture.store.claim(&address, &claim).await, ErrorKind::Unreachable);
    let opened = RedisStore::builder(&fixture.server.url_at(fixture.proxy.port())).deadline(SOON).open();
    is_not_applied(opened.await, ErrorKind::Unreachable);
    assert_eq!(fixture.events(&address).await, 0);
    fixture.proxy.heal();
    until_answered(&fixture.store).await;
    granted(&claim, &fixture.store.claim(&address, &claim).await.unwrap().reply);
}

/// Until the connection knows that it was cut: what is asked before may have left, and is never called refused or done.
async fn until_refused(store: &RedisStore) {
    let refused = async || match store.claim(&execution("other"), &fused()).await {
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
async fn a_lost_reply_is_ambiguous_and_an_unsent_command_is_not_applied() {
    let fixture = Fixture::open(SOON).await;
    let (address, claim) = (execution("key"), fused());
    fixture.proxy.black_hole();
    let asked = tokio::time::timeout(AT_LAST, fixture.store.claim(&address, &claim)).await;
    is_ambiguous(asked.expect("it is given up"));
    // A store that has to check the server first has not sent its request yet.
    let new_client = RedisStore::builder(&fixture.server.url_at(fixture.proxy.port())).deadline(SOON).open();
    is_not_applied(new_client.await, ErrorKind::Unreachable);
    assert_eq!(fixture.events(&address).await, 0);
    fixture.proxy.heal();
    fixture.proxy.cut();
    until_answered(&fixture.store).await;
    granted(&claim, &fixture.store.claim(&address, &claim).await.unwrap().reply);
    assert_eq!(fixture.events(&address).await, 1);
}

#[tokio::test]
async fn an_operation_whose_preceding_read_was_lost_is_not_applied() {
    let fixture = Fixture::open(SOON).await;
    fixture.proxy.black_hole();
    a_while_later().await;
    is_not_applied(fixture.store.claim(&execution("key"), &call()).await, ErrorKind::Unreachable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_duplicate_creates_no_claim() {
    let fixture = Fixture::open(SOON).await;
    let (address, claim) = (execution("key"), fused());
    fixture.proxy.requests().hold();
    is_ambiguous(fixture.store.claim(&address, &claim).await);
    assert_eq!(fixture.events(&address).await, 0, "it has not arrived");
    let cancel = Cancel { claim_id: claim.claim_id };
    let cancelled = fixture.beside.cancel(&address, &cancel).await.unwrap();
    assert_eq!(cancelled.reply, CancelReply::Cancelled);
    let calls = fixture.calls();
    fixture.proxy.heal();
    let arrived = || fixture.calls() > calls || fixture.proxy.requests().waiting() == 0;
    tokio::task::block_in_place(|| until("it has arrived", arrived));
    assert_eq!(fixture.events(&address).await, 1);
    let again = fixture.beside.claim(&address, &claim).await.unwrap();
    assert_eq!(again.reply, ClaimReply::AlreadyReleased);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_connection_is_no_error() {
    let fixture = Fixture::open(AT_LAST).await;
    fixture.proxy.replies().delay(Duration::from_millis(200));
    fixture.proxy.requests().delay(Duration::from_millis(200));
    let address = execution("key");
    let grant = hold(&fixture.store, &address, Phase::Executing).await;
    fixture.store.complete(&address, &complete(grant, "done")).await.unwrap();
    assert_eq!(fixture.events(&address).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_takes_nothing_back() {
    let fixture = Fixture::open(AT_LAST).await;
    let (address, claim) = (execution("key"), fused());
    let requests = fixture.proxy.requests();
    requests.hold();
    {
        let asked = fixture.store.claim(&address, &claim);
        let mut asked = std::pin::pin!(asked);
        while requests.waiting() == 0 {
            let polled = futures_util::poll!(asked.as_mut());
            assert!(polled.is_pending(), "{polled:?}");
            tokio::task::yield_now().await;
        }
    }
    requests.pass();
    // No caller waits for it, and it is carried out completely.
    tokio::time::timeout(AT_LAST, async { while fixture.events(&address).await == 0 {} }).await.unwrap();
    let stamped = fixture.store.claim(&address, &claim).await.unwrap();
    granted(&claim, &stamped.reply);
    assert!(!stamped.stamp.changed);
    assert_eq!(fixture.events(&address).await, 1);
}
