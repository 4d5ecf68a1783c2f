//! A replica takes over, and may lack what was acknowledged last.

use sentinel_core::operation::*;
use sentinel_core::{CoordinationStore as _, ErrorKind, Grant, State, StoreError, Token};
use sentinel_redis::RedisStore;
use sentinel_testbed::redis::Options;
use sentinel_testbed::{Proxy, Redis};

use crate::faults::*;

/// A primary, its replica, a proxy that leads to the present primary, and a store behind the proxy.
pub(crate) struct Fixture {
    primary: Redis,
    replica: Redis,
    proxy: Proxy,
    pub(crate) store: RedisStore,
    /// It is known to both.
    pub(crate) known: Grant,
}

impl Fixture {
    pub(crate) async fn open() -> Self {
        let primary = Redis::start(Options::default());
        let replica = primary.replica(Options::default());
        let proxy = Proxy::start(primary.port());
        let store = RedisStore::init(&primary.url_at(proxy.port())).await.unwrap();
        let known = hold(&store, &execution("known"), Phase::Executing).await;
        primary.wait_caught_up();
        Self { primary, replica, proxy, store, known }
    }

    pub(crate) fn url(&self) -> String {
        self.primary.url_at(self.proxy.port())
    }

    /// The store is refused with this error through the proxy, and so is a new client.
    async fn is_in_doubt(&self) {
        is_in_doubt(&self.store).await;
        new_client_is_refused_with(&self.url(), ErrorKind::PossibleDataLoss).await;
    }

    /// The replica receives nothing any more, because its primary is gone.
    pub(crate) async fn acknowledged_by_the_primary_alone(&self, key: &str) -> Grant {
        self.replica.cli(&["REPLICAOF", "127.0.0.1", "1"]);
        hold(&self.store, &execution(key), Phase::Executing).await
    }

    /// The replica is in charge; the primary is silent.
    pub(crate) fn promote(&self) {
        self.primary.pause();
        self.replica.promote();
        self.proxy.lead_to(self.replica.port());
    }

    async fn state(&self, key: &str) -> Option<State> {
        let record = self.store.inspect(&execution(key)).await.unwrap().record;
        record.map(|record| record.state)
    }
}

/// The error of the store when it has reconnected.
pub(crate) async fn until_reached<T, F>(ask: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let report = async {
        loop {
            match ask().await {
                Err(error) if error.is_worth_repeating() => {}
                report => return report,
            }
        }
    };
    tokio::time::timeout(AT_LAST, report).await.expect("it is reached")
}

/// No key runs twice, and no stale result is returned.
async fn is_in_doubt(store: &RedisStore) {
    let address = execution("known");
    let grant = Grant { token: Token::NONE, claim_id: call().claim_id };
    is_not_applied(until_reached(|| store.inspect(&address)).await, ErrorKind::PossibleDataLoss);
    is_not_applied(store.claim(&address, &fused()).await, ErrorKind::PossibleDataLoss);
    is_not_applied(store.begin(&address, &Begin { grant }).await, ErrorKind::PossibleDataLoss);
    is_not_applied(store.complete(&address, &complete(grant, "late")).await, ErrorKind::PossibleDataLoss);
    let beats = [Beat { address: address.clone(), grant }];
    is_not_applied(until_reached(|| store.heartbeat(&beats)).await, ErrorKind::PossibleDataLoss);
    is_not_applied(store.history(&address, 9).await, ErrorKind::PossibleDataLoss);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_replica_is_in_doubt_until_init() {
    let fixture = Fixture::open().await;
    let lost = fixture.acknowledged_by_the_primary_alone("lost").await;
    fixture.promote();
    fixture.is_in_doubt().await;
    RedisStore::init(&fixture.url()).await.unwrap();
    assert_eq!(fixture.state("lost").await, None);
    let again = hold(&fixture.store, &execution("lost"), Phase::Executing).await;
    assert!(again.token > lost.token, "{again:?} after {lost:?}");
    let stamped =
        fixture.store.complete(&execution("known"), &complete(fixture.known, "done")).await.unwrap();
    assert_eq!(stamped.reply, CompleteReply::Recorded { late: false });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_replica_is_in_doubt_even_if_it_lacks_nothing() {
    let fixture = Fixture::open().await;
    fixture.promote();
    fixture.is_in_doubt().await;
    RedisStore::init(&fixture.url()).await.unwrap();
    assert_eq!(fixture.state("known").await, Some(State::Executing));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_primary_is_in_doubt_when_it_comes_back() {
    let fixture = Fixture::open().await;
    fixture.promote();
    let registered = RedisStore::init(&fixture.url()).await.unwrap();
    hold(&registered, &execution("since"), Phase::Executing).await;
    assert_eq!(fixture.state("since").await, Some(State::Executing));
    // It still runs under its old identity: only clients that saw the promotion know.
    fixture.primary.resume();
    fixture.proxy.lead_to(fixture.primary.port());
    is_in_doubt(&fixture.store).await;
    is_in_doubt(&registered).await;
    // By now all know.
    new_client_is_refused_with(&fixture.url(), ErrorKind::PossibleDataLoss).await;
    RedisStore::init(&fixture.url()).await.unwrap();
    assert_eq!((fixture.state("since").await, fixture.state("known").await), (None, Some(State::Executing)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_old_primary_is_in_doubt_for_all_clients() {
    let fixture = Fixture::open().await;
    fixture.promote();
    drop(RedisStore::init(&fixture.url()).await.unwrap());
    fixture.primary.kill();
    fixture.primary.start_again();
    fixture.proxy.lead_to(fixture.primary.port());
    new_client_is_refused_with(&fixture.url(), ErrorKind::PossibleDataLoss).await;
    fixture.is_in_doubt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_primary_that_follows_is_refused() {
    let fixture = Fixture::open().await;
    fixture.promote();
    drop(RedisStore::init(&fixture.url()).await.unwrap());
    fixture.primary.resume();
    fixture.primary.follow(&fixture.replica);
    fixture.proxy.lead_to(fixture.primary.port());
    let (address, claim) = (execution("fresh"), fused());
    let reply = until_reached(|| fixture.store.claim(&address, &claim)).await;
    is_not_applied(reply, ErrorKind::DeploymentRefused);
    new_client_is_refused_with(&fixture.url(), ErrorKind::DeploymentRefused).await;
}
