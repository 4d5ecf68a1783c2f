//! A server and its second, which takes over.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use sentinel::postgres::PostgresStore;
use sentinel_testbed::postgres::{PASSWORD, SUPERUSER};
use sentinel_testbed::{self as testbed, Proxy};
use tokio::runtime::{Handle, Runtime};

use crate::crew::{Crew, pass};
use crate::verdict::Kept;

use super::{Deployment, postgres, redis};

/// PostgreSQL and its standby. The way leads to whichever is in charge.
pub(super) struct Standby {
    primary: testbed::Postgres,
    standby: testbed::Postgres,
    way: Proxy,
    runtime: Handle,
    synchronous: bool,
    over: bool,
}

impl Standby {
    pub(super) fn start(runtime: &Runtime, synchronous: bool) -> Self {
        let primary = testbed::Postgres::start(testbed::postgres::Options::default());
        postgres::set_up(&primary, runtime);
        let standby = primary.standby("second", synchronous);
        let way = Proxy::start(primary.port());
        Self { primary, standby, way, runtime: runtime.handle().clone(), synchronous, over: false }
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
        self.way.lead_to(self.standby.port());
        self.over = true;
        self.is_told();
        "the primary is killed, and the standby takes over".into()
    }

    /// Whoever looks is told that a standby took over.
    fn is_told(&self) {
        let health = self.runtime.block_on(PostgresStore::builder(&self.url()).health());
        let health = health.unwrap_or_else(|error| panic!("the standby does not answer: {error}"));
        let line = health.checks.iter().find(|check| check.name == "time line");
        assert!(
            line.is_some_and(|line| line.found.contains("it was 1")),
            "a failover is not told: {health:?}"
        );
    }
}

impl Deployment for Standby {
    fn url(&self) -> String {
        self.primary.url_at(self.way.port(), SUPERUSER, PASSWORD, "postgres")
    }

    fn name(&self) -> String {
        let kind = if self.synchronous { "a synchronous" } else { "an asynchronous" };
        format!("PostgreSQL with {kind} standby")
    }

    fn strike(&mut self, crew: &mut Crew, rng: &mut StdRng) -> String {
        if self.over { crew.strike(rng) } else { self.fail_over(rng) }
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
    way: Proxy,
    runtime: Handle,
    over: bool,
    lost: bool,
}

impl Replica {
    pub(super) fn start(runtime: &Runtime) -> Self {
        let primary = testbed::Redis::start(testbed::redis::Options::default());
        let replica = primary.replica(testbed::redis::Options::default());
        let way = Proxy::start(primary.port());
        let runtime = runtime.handle().clone();
        let started = Self { primary, replica, way, runtime, over: false, lost: false };
        redis::arm(&started.runtime, &started.url());
        started.primary.wait_caught_up();
        started
    }

    fn fail_over(&mut self, crew: &Crew, rng: &mut StdRng) -> String {
        // The replica hears nothing any more: what is acknowledged meanwhile is lost.
        self.replica.cli(&["REPLICAOF", "127.0.0.1", "1"]);
        pass(Duration::from_millis(rng.random_range(0..=500)));
        self.primary.kill();
        self.replica.promote();
        self.way.lead_to(self.replica.port());
        self.over = true;
        self.lost = redis::re_arm(&self.runtime, &crew.plan);
        assert!(self.lost, "a replica took over, and nobody is told");
        "the primary is killed, and its replica takes over".into()
    }
}

impl Deployment for Replica {
    fn url(&self) -> String {
        self.primary.url_at(self.way.port())
    }

    fn name(&self) -> String {
        "Redis with a replica".into()
    }

    fn strike(&mut self, crew: &mut Crew, rng: &mut StdRng) -> String {
        if self.over { crew.strike(rng) } else { self.fail_over(crew, rng) }
    }

    fn kept(&self) -> Kept {
        if self.lost { Kept::Tokens } else { Kept::All }
    }

    fn is_spent(&self) -> bool {
        true
    }
}
