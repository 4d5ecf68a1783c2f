//! Throwaway servers for tests and benches: started in a temporary folder, on a free loopback port, and gone
//! afterwards.
//!
//! ```no_run
//! use sentinel_testbed::{PgBouncer, pgbouncer, postgres, redis};
//!
//! let shared = postgres(); // one for the whole test program, started by the first caller
//! assert_eq!(shared.psql("select 1"), "1");
//! let bouncer = PgBouncer::start(shared, pgbouncer::Options::default());
//! println!("{} and {}", shared.url(), bouncer.url());
//! assert_eq!(redis().cli(&["PING"]), "PONG"); // shared, too
//! ```
//!
//! A test that kills or stops its server starts one of its own: [`Postgres::start`], [`Redis::start`].
//!
//! - Everything is synchronous, so that it serves tests in any runtime, or in none. Nothing here reads a clock.
//! - What cannot be done panics, with the message of the server or its program. A missing server is such a panic,
//!   never a silent skip.
//! - Each server has a guard, a process of its own that stops it and removes its folder when the test program
//!   ends, however it ends: return, panic, Ctrl-C or `kill -9`.
//! - These servers do not run as root: started by root, they run as `postgres`, or as `nobody` if there is no such
//!   account.

mod account;
mod clock;
mod cost_budget;
mod guard;
mod locate;
pub mod pgbouncer;
mod ports;
pub mod postgres;

mod process;
mod programs;
mod prometheus;
mod proxy;
pub mod redis;
mod tls;
mod url;

use std::sync::OnceLock;

pub use clock::clocks_can_be_set;
pub use cost_budget::{CostBudget, Trial, Unit};
pub use pgbouncer::PgBouncer;
pub use postgres::{Mode, Postgres};
pub use prometheus::{Prometheus, promtool};

pub use process::until;
pub use proxy::{Direction, Proxy};
pub use redis::{Redis, RedisCluster, RedisSentinel};

/// The PostgreSQL server that all tests of a program share: started by the first caller, stopped by its guard when
/// the program ends. Tests keep apart by database, schema or namespace, and leave its settings alone.
pub fn postgres() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(|| Postgres::start(postgres::Options::default()))
}

/// The Redis server that all tests of a program share, on the same terms; everything is synced before it is answered.
/// Tests keep apart by the beginnings of their keys, and leave its settings and the keys of others alone.
pub fn redis() -> &'static Redis {
    static SHARED: OnceLock<Redis> = OnceLock::new();
    SHARED.get_or_init(|| Redis::start(redis::Options::default()))
}
