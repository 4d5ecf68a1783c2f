//! Refusals of the server that pass: each proves that nothing was changed, and the same request succeeds later.

use std::time::Duration;

use sentinel_core::operation::*;
use sentinel_core::{Address, Applied, CoordinationStore as _, ErrorKind, Grant, State, StoreError};
use sentinel_redis::RedisStore;
use sentinel_testbed::Redis;
use sentinel_testbed::redis::Options;

use crate::faults::*;

/// A store with a record of each kind that a worker writes to.
struct Fixture {
    server: Redis,
    store: RedisStore,
    running: Grant,
    claimed: Grant,
    lease: Grant,
}

impl Fixture {
    async fn open() -> Self {
        let server = Redis::start(Options::default());
        // Only the scripts meet the refusal: the deployment is not checked again meanwhile.
        let rarely = Duration::from_secs(3_600);
        let store = RedisStore::builder(&server.url()).recheck_interval(rarely).init().await.unwrap();
        let running = hold(&store, &execution("running"), Phase::Executing).await;
        let claimed = hold(&store, &execution("claimed"), Phase::Claimed).await;
        let held = hold(&store, &lease("lease"), Phase::Claimed).await;
        // The connection for heartbeats is open, too.
        store.heartbeat(&[Beat { address: execution("running"), grant: running }]).await.unwrap();
        Self { server, store, running, claimed, lease: held }
    }

    /// Every write of a worker, with what it is about.
    async fn writes(&self) -> Vec<(&'static str, Result<(), StoreError>)> {
        let (store, running, claimed) = (&self.store, execution("running"), execution("claimed"));
        let beat = |address: Address, grant| [Beat { address, grant }];
        let cancel = Cancel { claim_id: self.claimed.claim_id };
        vec![
            ("claim", store.claim(&execution("fresh"), &fused()).await.map(drop)),
            ("begin", store.begin(&claimed, &Begin { grant: self.claimed }).await.map(drop)),
            ("heartbeat", store.heartbeat(&beat(running.clone(), self.running)).await.map(drop)),
            ("beat of a lease", store.heartbeat(&beat(lease("lease"), self.lease)).await.map(drop)),
            ("cancel", store.cancel(&claimed, &cancel).await.map(drop)),
            ("abandon", store.abandon(&running, &abandon(self.running)).await.map(drop)),
            ("complete", store.complete(&running, &complete(self.running, "charged")).await.map(drop)),
        ]
    }

    /// The server refuses for a while. Afterwards the result finds its place.
    async fn refuses(&self, code: &str, error_kind: ErrorKind) {
        for (what, stamped) in self.writes().await {
            let error = stamped.expect_err(what);
            assert_eq!((error.applied(), error.kind()), (Applied::No, error_kind), "{what}: {error}");
            assert!(error.to_string().contains(code), "{what}: {error}");
        }
    }

    async fn completes(&self) {
        let running = execution("running");
        let stamped = self.store.complete(&running, &complete(self.running, "charged")).await.unwrap();
        assert_eq!(stamped.reply, CompleteReply::Recorded { late: false });
        assert_eq!(stamped.stamp.state, State::Completed);
        hold(&self.store, &execution("fresh"), Phase::Executing).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_replicas() {
    let fixture = Fixture::open().await;
    fixture.server.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    fixture.refuses("NOREPLICAS", ErrorKind::DeploymentRefused).await;
    fixture.server.cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    fixture.completes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_only_reads_for_a_while() {
    let fixture = Fixture::open().await;
    fixture.server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    fixture.refuses("READONLY", ErrorKind::DeploymentRefused).await;
    fixture.server.cli(&["REPLICAOF", "NO", "ONE"]);
    fixture.completes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_for_a_while() {
    let fixture = Fixture::open().await;
    for right in ["-evalsha", "-@write"] {
        fixture.server.cli(&["ACL", "SETUSER", "default", right]);
        for (what, reply) in fixture.writes().await {
            let error = reply.expect_err(what);
            let found = (error.applied(), error.kind());
            assert_eq!(found, (Applied::No, ErrorKind::DeploymentRefused), "{what}, {right}: {error}");
        }
        fixture.server.cli(&["ACL", "SETUSER", "default", "+@all"]);
    }
    fixture.completes().await;
}
