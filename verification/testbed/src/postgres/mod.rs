//! PostgreSQL.

mod cluster;
mod faults;
mod options;
mod standby;
mod superuser;
mod tls;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use rustix::process::Signal;

use crate::process::{Server, feed_again, plain};
use crate::url::url;
use crate::{ports, programs};

pub use options::Options;
pub use superuser::{PASSWORD, SUPERUSER, VERIFIER};

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Transactions are rolled back, connections are closed, everything is written: an orderly restart.
    Fast,
    /// It stops at once, and recovers when it starts: as after a crash, but without leftover files.
    Immediate,
}

/// A PostgreSQL server in a temporary folder, on a loopback port and on a socket in that folder. Dropping it stops it
/// and removes the folder.
///
/// All methods panic with the server's error message when they fail.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    port: u16,
    /// The `application_name` that a standby has towards its primary.
    name: Option<String>,
    /// The standbys that this server waits for.
    synchronous: Mutex<Vec<String>>,
}

impl Postgres {
    /// Starts a new server, and waits until it takes connections.
    #[track_caller]
    pub fn start(options: Options) -> Self {
        let server = Server::new("PostgreSQL", (Signal::QUIT, "QUIT"));
        let server = if options.clock { server.with_clock() } else { server };
        cluster::create(&server, &options);
        let started = Self::first_start(server, None);
        for (name, password) in &options.roles {
            let (name, password) = (name.replace('"', "\"\""), password.replace('\'', "''"));
            started.psql(&format!("create role \"{name}\" login password '{password}'"));
        }
        started
    }

    /// Finds a port and starts the server of a folder that is ready for it.
    #[track_caller]
    fn first_start(server: Server, name: Option<String>) -> Self {
        let stopped = Self { server, port: 0, name, synchronous: Mutex::default() };
        ports::launch_on_a_free_port(
            stopped,
            |started| &started.server,
            |started, port| {
                started.port = port;
                started.launch()
            },
        )
    }

    /// Starts the process; whether it takes connections.
    #[track_caller]
    fn launch(&self) -> bool {
        let data = self.data().display().to_string();
        let mut args = vec!["-D".to_owned(), data];
        let name = self.name.as_deref().unwrap_or("testbed");
        // On the command line, where neither the file that a standby copies nor `alter system` takes precedence.
        for (setting, value) in [
            ("port", self.port.to_string()),
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("unix_socket_directories", self.folder().display().to_string()),
            ("cluster_name", name.to_owned()),
        ] {
            args.extend(["-c".to_owned(), format!("{setting}={value}")]);
        }
        self.server.launch(&programs::postgres("postgres"), &args, || self.is_ready())
    }

    /// As `pg_ctl` checks it: the lock file is of this process, and its status is `ready`.
    fn is_ready(&self) -> bool {
        let lock = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let lines: Vec<&str> = lock.lines().map(str::trim).collect();
        self.server.is_running()
            && lines.first() == Some(&self.pid().to_string().as_str())
            && lines.get(7) == Some(&"ready")
    }

    /// The URL of the superuser, by TCP.
    pub fn url(&self) -> String {
        self.url_for(SUPERUSER, PASSWORD, "postgres")
    }

    /// The URL of a role, by TCP. Nothing is created by it.
    pub fn url_for(&self, role: &str, password: &str, database: &str) -> String {
        self.url_at(self.port, role, password, database)
    }

    /// The URL of a role on another port: that of a proxy in front of this server.
    pub fn url_at(&self, port: u16, role: &str, password: &str, database: &str) -> String {
        url(role, Some(password), "127.0.0.1", port, database)
    }

    /// The URL of the superuser, by the socket. There, any role gets in without a password.
    pub fn socket_url(&self) -> String {
        url(SUPERUSER, None, &self.folder().display().to_string(), self.port, "postgres")
    }

    /// The TCP port on 127.0.0.1. It stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of the postmaster's process; another one after each start.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.server.pid().as_raw_nonzero().get().unsigned_abs()
    }

    /// The folder of the server, which holds its data, its socket and its log.
    pub fn folder(&self) -> &Path {
        self.server.folder()
    }

    /// The certificate of the authority that vouches for a server with TLS: what `sslrootcert` wants.
    pub fn authority(&self) -> PathBuf {
        self.folder().join("ca.crt")
    }

    fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// What the server has written to its log, since its first start.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// The major version of the server.
    pub fn version(&self) -> u32 {
        programs::version()
    }

    /// Runs SQL as the superuser, each statement in its own transaction, and gives the rows: a line each, `|` between
    /// the columns, no titles, no newline at the end.
    #[track_caller]
    pub fn psql(&self, sql: &str) -> String {
        self.psql_in("postgres", sql)
    }

    /// The same in another database.
    #[track_caller]
    pub fn psql_in(&self, database: &str, sql: &str) -> String {
        let psql = || {
            let mut psql = self.command("psql");
            psql.env("PGDATABASE", database);
            rows_only(psql)
        };
        // A standby cancels a query that is in the way of what it replays, whatever the query asks.
        feed_again(psql, sql, "conflict with recovery").trim_end_matches('\n').to_owned()
    }

    /// A program of PostgreSQL (`pgbench`, `pg_dump`), with the environment to connect to this server as the
    /// superuser, by the socket.
    #[track_caller]
    pub fn command(&self, program: &str) -> Command {
        let mut command = plain(&programs::postgres(program));
        command.env("PGHOST", self.folder()).env("PGPORT", self.port.to_string());
        command.env("PGUSER", SUPERUSER).env("PGDATABASE", "postgres");
        command
    }

    /// Stops the server. Paused processes are resumed first.
    #[track_caller]
    pub fn stop(&self, mode: Mode) {
        self.server.signal(match mode {
            Mode::Fast => Signal::INT,
            Mode::Immediate => Signal::QUIT,
        });
        self.resume();
        self.server.wait();
    }

    /// Starts a server that was stopped or killed: same port, same data. If it ended in disorder it recovers first, as
    /// PostgreSQL does.
    #[track_caller]
    pub fn start_again(&self) {
        let before = self.log().len();
        assert!(self.launch(), "PostgreSQL did not start again: {}", &self.log()[before..]);
    }
}

/// psql that reads statements, prints rows only, and ends at the first error.
pub(crate) fn rows_only(mut psql: Command) -> Command {
    psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
    psql
}
