//! What a server can be started with.

/// How a PostgreSQL server is set up. The default is PostgreSQL's own: everything durable, read committed, no TLS.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub(super) conf: Vec<String>,
    pub(super) hba: Vec<String>,
    pub(super) initdb: Vec<String>,
    pub(super) roles: Vec<(String, String)>,
    pub(super) tls: bool,
    pub(super) clock: bool,
}

impl Options {
    /// Adds a line to `postgresql.conf`: `.conf("max_connections = 20")`. Of two that contradict each other the last
    /// one counts.
    #[must_use]
    pub fn conf(mut self, line: &str) -> Self {
        self.conf.push(line.to_owned());
        self
    }

    /// Adds a line to `pg_hba.conf`, before those that let every role in: `.hba("hostnossl all all all reject")`.
    #[must_use]
    pub fn hba(mut self, line: &str) -> Self {
        self.hba.push(line.to_owned());
        self
    }

    /// Adds an argument for `initdb`, after the usual ones: `.initdb("--locale=C.UTF-8")`. Without it, text is UTF-8
    /// and compares byte by byte.
    #[must_use]
    pub fn initdb(mut self, argument: &str) -> Self {
        self.initdb.push(argument.to_owned());
        self
    }

    /// Creates a role that can log in, and may do nothing else that needs a right.
    #[must_use]
    pub fn role(mut self, name: &str, password: &str) -> Self {
        self.roles.push((name.to_owned(), password.to_owned()));
        self
    }

    /// Gives the server a clock that [`set_clock`](super::Postgres::set_clock) sets. It needs libfaketime:
    /// [`clocks_can_be_set`](crate::clocks_can_be_set).
    #[must_use]
    pub fn clock(mut self) -> Self {
        self.clock = true;
        self
    }

    /// Offers TLS, under a certificate for `localhost` and 127.0.0.1 from an authority of its own:
    /// [`Postgres::authority`](super::Postgres::authority).
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }
}
