//! Which deployments there are, and which of them a schedule gets.

use std::fmt;

use clap::ValueEnum;
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::runtime::Runtime;

use super::{Deployment, failover, postgres, redis, sqlite};

/// Which kind of store a schedule breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// One file, and many processes.
    Sqlite,
    /// A server; direct, behind PgBouncer, for roles whose transactions are repeatable read or serializable.
    Postgres,
    /// A server, or a cluster whose slots move.
    Redis,
    /// A server and its second, which takes over: PostgreSQL with a synchronous or an asynchronous standby, Redis with
    /// a replica.
    Failover,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Failover => "failover",
        })
    }
}

/// Which deployment of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    Sqlite,
    Postgres,
    Redis,
    RedisCluster,
    SynchronousStandby,
    AsynchronousStandby,
    RedisReplica,
}

impl Flavour {
    pub(crate) fn draw(kind: Kind, rng: &mut StdRng) -> Self {
        match (kind, rng.random_range(0..12)) {
            (Kind::Sqlite, _) => Self::Sqlite,
            (Kind::Postgres, _) => Self::Postgres,
            (Kind::Redis, 0..3) => Self::RedisCluster,
            (Kind::Redis, _) => Self::Redis,
            (Kind::Failover, 0..4) => Self::SynchronousStandby,
            (Kind::Failover, 4..8) => Self::AsynchronousStandby,
            (Kind::Failover, _) => Self::RedisReplica,
        }
    }

    pub(crate) fn start(self, runtime: &Runtime) -> Box<dyn Deployment> {
        match self {
            Self::Sqlite => Box::new(sqlite::Sqlite::start(runtime)),
            Self::Postgres => Box::new(postgres::Postgres::start(runtime)),
            Self::Redis => Box::new(redis::Single::start(runtime)),
            Self::RedisCluster => Box::new(redis::Cluster::start(runtime)),
            Self::SynchronousStandby => Box::new(failover::Standby::start(runtime, true)),
            Self::AsynchronousStandby => Box::new(failover::Standby::start(runtime, false)),
            Self::RedisReplica => Box::new(failover::Replica::start(runtime)),
        }
    }
}
