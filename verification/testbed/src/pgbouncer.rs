//! PgBouncer.

use std::fmt::Write as _;
use std::net::TcpStream;

use rustix::process::Signal;

use crate::postgres::{PASSWORD, Postgres, SUPERUSER, VERIFIER, rows_only};
use crate::process::{Server, feed, run};
use crate::url::url;
use crate::{ports, programs};

/// How a client's connections share the server's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PoolMode {
    /// A server's connection is one client's for a transaction: the usual mode.
    #[default]
    Transaction,
    /// A server's connection is one client's until the client disconnects.
    Session,
    /// A server's connection is one client's for a statement; there are no transactions.
    Statement,
}

/// How a PgBouncer is set up. The default is the transaction mode and PgBouncer's own settings.
#[derive(Debug, Clone, Default)]
pub struct Options {
    mode: PoolMode,
    settings: Vec<(String, String)>,
}

impl Options {
    /// The mode.
    #[must_use]
    pub fn mode(mut self, mode: PoolMode) -> Self {
        self.mode = mode;
        self
    }

    /// How many connections to the server there are for each role and database.
    #[must_use]
    pub fn pool_size(self, connections: u32) -> Self {
        self.setting("default_pool_size", &connections.to_string())
    }

    /// Which settings in a client's greeting are ignored, `a, b`. Without it, one that PgBouncer does not know is
    /// refused.
    #[must_use]
    pub fn ignore_startup_parameters(self, names: &str) -> Self {
        self.setting("ignore_startup_parameters", names)
    }

    /// How many named statements of a client are carried from one of the server's connections to another; none is
    /// PgBouncer's way before 1.21, where [`PgBouncer::knows_prepared_statements`] is false.
    #[must_use]
    pub fn max_prepared_statements(self, statements: u32) -> Self {
        self.setting("max_prepared_statements", &statements.to_string())
    }

    /// Any other line of `[pgbouncer]`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A PgBouncer in front of a server, on a loopback port. Every role of the server gets in with its own password, and to
/// every database. Dropping it stops it.
#[derive(Debug)]
pub struct PgBouncer {
    server: Server,
    port: u16,
}

impl PgBouncer {
    /// Starts a PgBouncer, and waits until it takes connections.
    ///
    /// # Panics
    /// With its log, if it does not start: for one, because it is too old for a setting.
    #[track_caller]
    pub fn start(postgres: &Postgres, options: Options) -> Self {
        let server = Server::new("PgBouncer", (Signal::KILL, "KILL"));
        ports::launch_on_a_free_port(
            Self { server, port: 0 },
            |bouncer| &bouncer.server,
            |bouncer, port| {
                bouncer.port = port;
                bouncer.configure(postgres, &options);
                bouncer.launch()
            },
        )
    }

    fn configure(&self, postgres: &Postgres, options: &Options) {
        let users = self.server.write("userlist.txt", &format!("\"{SUPERUSER}\" \"{VERIFIER}\"\n"));
        let (folder, server) = (self.server.folder().display(), postgres.folder().display());
        let mode = match options.mode {
            PoolMode::Transaction => "transaction",
            PoolMode::Session => "session",
            PoolMode::Statement => "statement",
        };
        // Roles and their secrets are asked of the server, where PgBouncer gets in by the socket.
        let mut text = format!(
            "[databases]\n* = host={server} port={} auth_user={SUPERUSER}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {}\nunix_socket_dir = {folder}\nauth_type = scram-sha-256\nauth_file = {}\n\
             auth_user = {SUPERUSER}\nadmin_users = {SUPERUSER}\nmax_client_conn = 500\npool_mode = {mode}\n",
            postgres.port(),
            self.port,
            users.display(),
        );
        for (name, value) in &options.settings {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name} = {value}");
        }
        self.server.write("pgbouncer.ini", &text);
    }

    /// Starts the process; whether it takes connections.
    fn launch(&self) -> bool {
        let ini = self.server.folder().join("pgbouncer.ini").display().to_string();
        let before = self.log().len();
        // By its log, because another program could be on the port.
        let is_up = || {
            self.log()[before..].contains("process up")
                && TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        };
        self.server.launch(&programs::pgbouncer(), &[ini], is_up) && self.server.is_running()
    }

    /// The URL of the server's superuser, through this PgBouncer.
    pub fn url(&self) -> String {
        self.url_for(SUPERUSER, PASSWORD, "postgres")
    }

    /// The URL of a role, through this PgBouncer.
    pub fn url_for(&self, role: &str, password: &str, database: &str) -> String {
        url(role, Some(password), "127.0.0.1", self.port, database)
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of its process.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.server.pid().as_raw_nonzero().get().unsigned_abs()
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// Runs SQL through it as the superuser, in the form of [`Postgres::psql`].
    #[track_caller]
    pub fn psql(&self, sql: &str) -> String {
        self.psql_at(&self.url(), sql)
    }

    /// Runs a command on its console: `show pools`, `reconnect`, `pause`.
    #[track_caller]
    pub fn console(&self, command: &str) -> String {
        self.psql_at(&self.url_for(SUPERUSER, PASSWORD, "pgbouncer"), command)
    }

    #[track_caller]
    fn psql_at(&self, url: &str, sql: &str) -> String {
        let mut psql = rows_only(self.server.command(&programs::postgres("psql")));
        psql.args(["-d", url]);
        feed(psql, sql).trim_end_matches('\n').to_owned()
    }

    /// Stops it at once: the clients' connections break.
    #[track_caller]
    pub fn stop(&self) {
        self.server.signal(Signal::KILL);
        self.server.wait();
    }

    /// Starts it again after [`stop`](Self::stop), on the same port.
    #[track_caller]
    pub fn start_again(&self) {
        assert!(self.launch(), "PgBouncer did not start again: {}", self.log());
    }

    /// Whether the installed PgBouncer (1.21 or newer) carries named statements along.
    pub fn knows_prepared_statements() -> bool {
        version() >= (1, 21)
    }
}

/// The version of the installed PgBouncer.
fn version() -> (u32, u32) {
    let mut command = crate::process::plain(&programs::pgbouncer());
    command.arg("--version");
    parsed(&run(command)).expect("PgBouncer prints its version")
}

/// (1, 18) of "PgBouncer 1.18.0".
fn parsed(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.lines().next()?.rsplit(' ').next()?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(parsed("PgBouncer 1.18.0\nlibevent 2.1.12-stable\n"), Some((1, 18)));
        assert_eq!(parsed("nothing"), None);
    }
}
