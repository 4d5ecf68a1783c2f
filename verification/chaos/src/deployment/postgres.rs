//! One PostgreSQL server, by several ways.

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

use crate::crew::{Crew, pass};
use crate::verdict::Kept;

use super::{Deployment, network};

/// How many connections the server takes: fewer than the workers would have.
const CONNECTIONS: u32 = 40;

/// By which way a schedule comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Bounced,
    RepeatableRead,
    Serializable,
}

pub(super) struct Postgres {
    server: testbed::Postgres,
    proxy: Proxy,
    bouncer: PgBouncer,
    way: Way,
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
        Self { server, proxy, bouncer, way: Way::Direct }
    }

    /// What the server says to a script, as soon as it says anything: it may be recovering, or have no connection left.
    fn say(&self, sql: &str) -> String {
        let mut said = None;
        until("PostgreSQL answers", || {
            said = self.try_say(sql);
            said.is_some()
        });
        said.unwrap_or_default()
    }

    fn try_say(&self, sql: &str) -> Option<String> {
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
        let all = self.say(
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
        self.say("select 1");
        what.into()
    }

    fn hold(&self, rng: &mut StdRng) -> String {
        let long = rng.random_range(20..=600);
        let (what, sql) = match rng.random_range(0..3) {
            0 => ("the table", "lock table sentinel.records in access exclusive mode"),
            1 => ("all records", "select from sentinel.records for update"),
            _ => ("the log", "lock table sentinel.events in exclusive mode"),
        };
        self.say(&format!("begin; {sql}; select pg_sleep({long} / 1000.0); rollback"));
        format!("somebody holds {what} for {long} ms")
    }

    /// Statements and locks time out while somebody holds the records.
    fn hurry(&self, rng: &mut StdRng) -> String {
        let (statement, lock) = (rng.random_range(1..=50), rng.random_range(1..=50));
        self.set(&[("statement_timeout", &format!("{statement}ms")), ("lock_timeout", &format!("{lock}ms"))]);
        let free = "set statement_timeout = 0; set lock_timeout = 0";
        self.say(&format!(
            "{free}; begin; select from sentinel.records for update; select pg_sleep(0.2); rollback"
        ));
        self.set(&[("statement_timeout", "0"), ("lock_timeout", "0")]);
        format!(
            "statements time out after {statement} ms, locks after {lock} ms, and somebody holds the records"
        )
    }

    fn set(&self, settings: &[(&str, &str)]) {
        let set = settings.iter().map(|(name, value)| format!("alter system set {name} = '{value}';"));
        let set: String = set.collect();
        // Each of them alone: `alter system` stands in no transaction.
        for line in set.split_inclusive(';') {
            self.say(&format!("set statement_timeout = 0; {line}"));
        }
        self.say("set statement_timeout = 0; select pg_reload_conf()");
    }

    /// Strangers take all connections there are, while those of the workers are ended.
    fn crowd(&self, rng: &mut StdRng) -> String {
        let long = Duration::from_millis(rng.random_range(50..=400));
        let strangers: Vec<_> = (0..2 * CONNECTIONS)
            .filter_map(|_| TcpStream::connect(("127.0.0.1", self.server.port())).ok())
            .collect();
        self.all_backends("pg_terminate_backend");
        pass(long);
        drop(strangers);
        self.say("select 1");
        format!("strangers take all connections for {long:?}")
    }

    /// The server's clock steps, forward or back, and stays there.
    fn set_clock(&self, rng: &mut StdRng) -> String {
        let milliseconds = rng.random_range(-3_000..=3_000);
        self.server.set_clock(milliseconds);
        let way = if milliseconds < 0 { "behind" } else { "before" };
        format!("the server's clock is set {} ms {way} the real one", milliseconds.abs())
    }

    fn all_backends(&self, end: &str) {
        // Where no connection is left for us, that is the strike.
        let _ = self.try_say(&format!(
            "select {end}(pid) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
        ));
    }

    fn stand_still(&self, rng: &mut StdRng) -> String {
        let long = Duration::from_millis(rng.random_range(20..=600));
        match self.backend(rng) {
            Some(backend) if rng.random_ratio(1, 2) && self.server.try_pause_backend(backend) => {
                pass(long);
                self.server.resume_backend(backend);
                format!("a backend stands still for {long:?}")
            }
            _ => {
                self.server.pause();
                pass(long);
                self.server.resume();
                format!("the server stands still for {long:?}")
            }
        }
    }

    fn on_the_way(&self, rng: &mut StdRng) -> String {
        if self.way != Way::Bounced {
            return network::strike(&self.proxy, rng);
        }
        self.bouncer.stop();
        pass(Duration::from_millis(rng.random_range(0..=200)));
        self.bouncer.start_again();
        "PgBouncer is restarted".into()
    }
}

impl Deployment for Postgres {
    fn url(&self) -> String {
        let role = match self.way {
            Way::Direct | Way::Bounced => "worker",
            Way::RepeatableRead => "repeatable_read",
            Way::Serializable => "serializable",
        };
        match self.way {
            Way::Bounced => self.bouncer.url_for(role, role, "postgres"),
            _ => self.server.url_at(self.proxy.port(), role, role, "postgres"),
        }
    }

    fn name(&self) -> String {
        format!("PostgreSQL, {:?}", self.way)
    }

    fn prepare(&mut self, rng: &mut StdRng) {
        self.way = match rng.random_range(0..5) {
            0 | 1 => Way::Direct,
            2 => Way::Bounced,
            3 => Way::RepeatableRead,
            _ => Way::Serializable,
        };
    }

    /// Nobody takes an execution over, so its heartbeats need not be durable.
    fn kept(&self) -> Kept {
        Kept::AllButHeartbeats
    }

    fn strike(&mut self, _: &mut Crew, rng: &mut StdRng) -> String {
        match rng.random_range(0..9) {
            8 if testbed::clocks_can_be_set() => self.set_clock(rng),
            0 | 1 => self.crash(rng),
            2 => self.hold(rng),
            3 => self.hurry(rng),
            4 => self.crowd(rng),
            5 => self.stand_still(rng),
            6 => {
                let end = if rng.random_ratio(1, 2) { "pg_terminate_backend" } else { "pg_cancel_backend" };
                self.all_backends(end);
                format!("{end} of everybody")
            }
            _ => self.on_the_way(rng),
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
