//! Where the options of a connection come from. They are read again for each connection: a password in `~/.pgpass` or
//! `PGPASSFILE`, and the options of a pool, may have changed since the store was opened. (A certificate is named by its
//! file, which the driver reads for each connection.)

use std::fmt;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgPool};
use tracing::log::LevelFilter;

use crate::url;

/// The options of a connection.
#[derive(Clone)]
pub(crate) struct Source {
    first: PgConnectOptions,
    origin: Origin,
}

#[derive(Clone)]
enum Origin {
    /// Options that the caller has made: they stay as they are.
    Options,
    Pool(PgPool),
    Url(String),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The options hold a password.
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

impl Source {
    pub(crate) fn options(options: PgConnectOptions) -> Self {
        Self { first: options, origin: Origin::Options }
    }

    pub(crate) fn pool(pool: &PgPool) -> Self {
        Self { first: PgConnectOptions::clone(&pool.connect_options()), origin: Origin::Pool(pool.clone()) }
    }

    /// A URL, and what it meant when it was read first.
    pub(crate) fn url(url: &str, first: PgConnectOptions) -> Self {
        Self { first, origin: Origin::Url(url.to_owned()) }
    }

    /// The options as they are now.
    pub(crate) fn now(&self) -> PgConnectOptions {
        let options = match &self.origin {
            Origin::Options => self.first.clone(),
            Origin::Pool(pool) => PgConnectOptions::clone(&pool.connect_options()),
            // It was read before; what else it rests on is the environment, which does not change.
            Origin::Url(url) => url::parse(url).map_or_else(|_| self.first.clone(), |parsed| parsed.options),
        };
        let quiet =
            options.log_statements(LevelFilter::Off).log_slow_statements(LevelFilter::Off, Duration::MAX);
        // `pg_stat_activity` shows who it is.
        match quiet.get_application_name() {
            Some(_) => quiet,
            None => quiet.application_name("sentinel"),
        }
    }
}
