//! One PostgreSQL server, by several routes.

use std::io::Write as _;
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use sentinel::postgres::PostgresStore;
use sentinel_testbed::postgres::Options;
use sentinel_testbed::{self as testbed, Mode, PgBouncer, Proxy, until};
use tokio::runtime::Runtime;

use crate::checker::Kept;
use crate::workers::{Workers, pass};

use super::{Deployment, network};

/// How many connections the server takes: fewer than the workers would have.
const CONNECTIONS: u32 = 40;

/// How the workers of a schedule connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Direct,
    PgBouncer,
    RepeatableRead,
    Serializable,
}

pub(super) struct Postgres {
    server: testbed::Postgres,
    proxy: Proxy,
    bouncer: PgBouncer,
    route: Route,
}

impl Postgres {
    pub(super) fn start(runtime: &Runtime) -> Self {
        let options = Options::default().conf(&format!("max_connections = {CONNECTIONS}"));
        let options = if testbed::clocks_can_be_set() { options.clock() } else { options };
        let server = testbed::Postgres::start(options);
        set_up(&server, runtime);
        for (role, settings) in [
            ("worker", ""),
            ("repeatable_read", "default_transaction_isolation = 'repeatable read'"),
            ("serializable", "default_transaction_isolation = 'serializable'"),
        ] {
            grant(&server, role);
            if !settings.is_empty() {
                server.psql(&format!("alter role {role} set {settings}"));
            }
        }
        let proxy = Proxy::start(server.port());
        let bouncer = PgBouncer::start(&server, testbed::pgbouncer::Options::default().pool_size(4));
        Self { server, proxy, bouncer, route: Route::Direct }
    }

    /// What a script prints, as soon as the server runs it: it may be recovering, or have no connection left.
    fn query(&self, sql: &str) -> String {
        let mut printed = None;
        until("PostgreSQL answers", || {
            printed = self.try_query(sql);
            printed.is_some()
        });
        printed.unwrap_or_default()
    }

    fn try_query(&self, sql: &str) -> Option<String> {
        let mut psql = self.server.command("psql");
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
        let spawned = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("no psql: {error}"));
        // One that found no server does not read.
        drop(child.stdin.take().map(|mut stdin| stdin.write_all(sql.as_bytes())));
        let output = child.wait_with_output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Some connection of a worker.
    fn backend(&self, rng: &mut StdRng) -> Option<u32> {
        let all = self.query(
            "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()",
        );
        let all: Vec<u32> = all.lines().filter_map(|pid| pid.parse().ok()).collect();
        (!all.is_empty()).then(|| all[rng.random_range(0..all.len())])
    }

    fn crash(&self, rng: &mut StdRng) -> String {
        let what = match rng.random_range(0..4) {
            0 => {
                self.server.kill9();
                self.server.start_again();
                "the server is killed"
            }
            1 => {
                self.server.stop(Mode::Immediate);
                self.server.start_again();
                "the server is stopped at once"
            }
            2 => {
                self.server.stop(Mode::Fast);
                self.server.start_again();
                "the server is restarted"
            }
            _ => {
                self.backend(rng).map(|backend| self.server.try_kill_backend(backend));
                "a backend is killed, and the server recovers"
            }
        };
        self.query("select 1");
        what.into()
    }

    fn hold_locks(&self, rng: &mut StdRng) -> String {
        let long = rng.random_range(20..=600);
        let (what, sql) = match rng.random_range(0..3) {
            0 => ("the table", "lock table sentinel.records in access exclusive mode"),
            1 => ("every record", "select from sentinel.records for update"),
            _ => ("the log", "lock table sentinel.events in exclusive mode"),
        };
        self.query(&format!("begin; {sql}; select pg_sleep({long} / 1000.0); rollback"));
        format!("{what} is locked for {long} ms")
    }

    /// Statements and locks time out while the records are locked.
    fn shorten_timeouts(&self, rng: &mut StdRng) -> String {
        let (statement, lock) = (rng.random_range(1..=50), rng.random_range(1..=50));
        self.set(&[("statement_timeout", &format!("{statement}ms")), ("lock_timeout", &format!("{lock}ms"))]);
        let free = "set statement_timeout = 0; set lock_timeout = 0";
        self.query(&format!(
            "{free}; begin; select from sentinel.records for update; select pg_sleep(0.2); rollback"
        ));
        self.set(&[("statement_timeout", "0"), ("lock_timeout", "0")]);
        format!("statements time out after {statement} ms, locks after {lock} ms, and the records are locked")
    }

    fn set(&self, settings: &[(&str, &str)]) {
        let set = settings.iter().map(|(name, value)| format!("alter system set {name} = '{value}';"));
        let set: String = set.collect();
        // Each of them alone: `alter system` cannot run in a transaction.
        for line in set.split_inclusive(';') {
            self.query(&format!("set statement_timeout = 0; {line}"));
        }
        self.query("set statement_timeout = 0; select pg_reload_conf()");
    }

    /// Other clients take all connections there are, while those of the workers are ended.
    fn exhaust_connections(&self, rng: &mut StdRng) -> String {
        let long = Duration::from_millis(rng.random_range(50..=400));
        let others: Vec<_> = (0..2 * CONNECTIONS)
            .filter_map(|_| TcpStream::connect(("127.0.0.1", self.server.port())).ok())
            .collect();
        self.all_backends("pg_terminate_backend");
        pass(long);
        drop(others);
        self.query("select 1");
        format!("other clients take all connections for {long:?}")
    }

    /// The server's clock steps, forward or back, and stays there.
    fn set_clock(&self, rng: &mut StdRng) -> String {
        let milliseconds = rng.random_range(-3_000..=3_000);
        self.server.set_clock(milliseconds);
        let direction = if milliseconds < 0 { "behind" } else { "before" };
        format!("the server's clock is set {} ms {direction} the real one", milliseconds.abs())
    }

    fn all_backends(&self, end: &str) {
        // Where no connection is left for this one, that is the fault.
        let _ = self.try_query(&format!(
            "select {end}(pid) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
        ));
    }

    fn pause(&self, rng: &mut StdRng) -> String {
        let long = Duration::from_millis(rng.random_range(20..=600));
        match self.backend(rng) {
            Some(backend) if rng.random_ratio(1, 2) && self.server.try_pause_backend(backend) => {
                pass(long);
                self.server.resume_backend(backend);
                format!("a backend is stopped for {long:?}")
            }
            _ => {
                self.server.pause();
                pass(long);
                self.server.resume();
                format!("the server is stopped for {long:?}")
            }
        }
    }

    fn break_the_network(&self, rng: &mut StdRng) -> String {
        if self.route != Route::PgBouncer {
            return network::inject(&self.proxy, rng);
        }
        self.bouncer.stop();
        pass(Duration::from_millis(rng.random_range(0..=200)));
        self.bouncer.start_again();
        "PgBouncer is restarted".into()
    }
}

impl Deployment for Postgres {
    fn url(&self) -> String {
        let role = match self.route {
            Route::Direct | Route::PgBouncer => "worker",
            Route::RepeatableRead => "repeatable_read",
            Route::Serializable => "serializable",
        };
        match self.route {
            Route::PgBouncer => self.bouncer.url_for(role, role, "postgres"),
            _ => self.server.url_at(self.proxy.port(), role, role, "postgres"),
        }
    }

    fn name(&self) -> String {
        format!("PostgreSQL, {:?}", self.route)
    }

    fn prepare(&mut self, rng: &mut StdRng) {
        self.route = match rng.random_range(0..5) {
            0 | 1 => Route::Direct,
            2 => Route::PgBouncer,
            3 => Route::RepeatableRead,
            _ => Route::Serializable,
        };
    }

    /// No worker takes an execution over, so its heartbeats need not be durable.
    fn kept(&self) -> Kept {
        Kept::AllButHeartbeats
    }

    fn inject(&mut self, _: &mut Workers, rng: &mut StdRng) -> String {
        match rng.random_range(0..9) {
            8 if testbed::clocks_can_be_set() => self.set_clock(rng),
            0 | 1 => self.crash(rng),
            2 => self.hold_locks(rng),
            3 => self.shorten_timeouts(rng),
            4 => self.exhaust_connections(rng),
            5 => self.pause(rng),
            6 => {
                let end = if rng.random_ratio(1, 2) { "pg_terminate_backend" } else { "pg_cancel_backend" };
                self.all_backends(end);
                format!("{end} of every backend")
            }
            _ => self.break_the_network(rng),
        }
    }
}

/// Makes the tables.
pub(super) fn set_up(server: &testbed::Postgres, runtime: &Runtime) {
    let made = runtime.block_on(PostgresStore::builder(&server.url()).init());
    drop(made.unwrap_or_else(|error| panic!("the tables cannot be made: {error}")));
}

/// A role for workers, with its name for a password. It is no superuser: the last connections are for us.
fn grant(server: &testbed::Postgres, role: &str) {
    server.psql(&format!(
        "create role {role} login password '{role}'; grant usage on schema sentinel to {role};
         grant all on all tables in schema sentinel to {role}; grant all on all sequences in schema sentinel to {role}"
    ));
}
