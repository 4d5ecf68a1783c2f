//! A server and its second, which takes over.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use sentinel::postgres::PostgresStore;
use sentinel_testbed::postgres::{PASSWORD, SUPERUSER};
use sentinel_testbed::{self as testbed, Proxy};
use tokio::runtime::{Handle, Runtime};

use crate::checker::Kept;
use crate::workers::{Workers, pass};

use super::{Deployment, postgres, redis};

/// PostgreSQL and its standby. The proxy leads to the current primary.
pub(super) struct Standby {
    primary: testbed::Postgres,
    standby: testbed::Postgres,
    proxy: Proxy,
    runtime: Handle,
    synchronous: bool,
    over: bool,
}

impl Standby {
    pub(super) fn start(runtime: &Runtime, synchronous: bool) -> Self {
        let primary = testbed::Postgres::start(testbed::postgres::Options::default());
        postgres::set_up(&primary, runtime);
        let standby = primary.standby("second", synchronous);
        let proxy = Proxy::start(primary.port());
        Self { primary, standby, proxy, runtime: runtime.handle().clone(), synchronous, over: false }
    }

    fn fail_over(&mut self, rng: &mut StdRng) -> String {
        if !self.synchronous {
            // It falls behind: what is acknowledged meanwhile is lost.
            self.standby.pause();
            pass(Duration::from_millis(rng.random_range(0..=500)));
        }
        self.primary.kill9();
        if !self.synchronous {
            self.standby.resume();
        }
        self.standby.promote();
        self.proxy.lead_to(self.standby.port());
        self.over = true;
        self.assert_failover_is_reported();
        "the primary is killed, and the standby takes over".into()
    }

    /// `doctor` reports that a standby took over.
    fn assert_failover_is_reported(&self) {
        let health = self.runtime.block_on(PostgresStore::builder(&self.url()).health());
        let health = health.unwrap_or_else(|error| panic!("the standby does not answer: {error}"));
        let line = health.checks.iter().find(|check| check.name == "time line");
        assert!(
            line.is_some_and(|line| line.found.contains("it was 1")),
            "a failover is not reported: {health:?}"
        );
    }
}

impl Deployment for Standby {
    fn url(&self) -> String {
        self.primary.url_at(self.proxy.port(), SUPERUSER, PASSWORD, "postgres")
    }

    fn name(&self) -> String {
        let kind = if self.synchronous { "a synchronous" } else { "an asynchronous" };
        format!("PostgreSQL with {kind} standby")
    }

    fn inject(&mut self, workers: &mut Workers, rng: &mut StdRng) -> String {
        if self.over { workers.inject(rng) } else { self.fail_over(rng) }
    }

    fn kept(&self) -> Kept {
        if self.over && !self.synchronous { Kept::Tokens } else { Kept::AllButHeartbeats }
    }

    fn is_spent(&self) -> bool {
        true
    }
}

/// Redis and its replica.
pub(super) struct Replica {
    primary: testbed::Redis,
    replica: testbed::Redis,
    proxy: Proxy,
    runtime: Handle,
    over: bool,
    lost: bool,
}

impl Replica {
    pub(super) fn start(runtime: &Runtime) -> Self {
        let primary = testbed::Redis::start(testbed::redis::Options::default());
        let replica = primary.replica(testbed::redis::Options::default());
        let proxy = Proxy::start(primary.port());
        let runtime = runtime.handle().clone();
        let started = Self { primary, replica, proxy, runtime, over: false, lost: false };
        redis::init(&started.runtime, &started.url());
        started.primary.wait_caught_up();
        started
    }

    fn fail_over(&mut self, workers: &Workers, rng: &mut StdRng) -> String {
        // The replica gets nothing any more: what is acknowledged meanwhile is lost.
        self.replica.cli(&["REPLICAOF", "127.0.0.1", "1"]);
        pass(Duration::from_millis(rng.random_range(0..=500)));
        self.primary.kill();
        self.replica.promote();
        self.proxy.lead_to(self.replica.port());
        self.over = true;
        self.lost = redis::init_if_in_doubt(&self.runtime, &workers.plan);
        assert!(self.lost, "a replica took over, and the doubt is not reported");
        "the primary is killed, and its replica takes over".into()
    }
}

impl Deployment for Replica {
    fn url(&self) -> String {
        self.primary.url_at(self.proxy.port())
    }

    fn name(&self) -> String {
        "Redis with a replica".into()
    }

    fn inject(&mut self, workers: &mut Workers, rng: &mut StdRng) -> String {
        if self.over { workers.inject(rng) } else { self.fail_over(workers, rng) }
    }

    fn kept(&self) -> Kept {
        if self.lost { Kept::Tokens } else { Kept::All }
    }

    fn is_spent(&self) -> bool {
        true
    }
}
