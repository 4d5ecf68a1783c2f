//! How a file is to be opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sentinel_core::store::Health;
use sentinel_core::{Clock, EventLimit, StoreError, SystemClock};

use crate::connection::options::{OpenOptions, absolute};
use crate::doctor;
use crate::url::Url;

/// How to open a [`SqliteStore`](crate::SqliteStore).
#[derive(Debug, Clone)]
#[must_use = "nothing is opened before `open`"]
pub struct SqliteStoreBuilder {
    path: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
    busy_timeout: Duration,
    turn_timeout: Option<Duration>,
    create: bool,
    allow_network: bool,
    allow_other_names: bool,
    accept_lost_log: bool,
    reads_only: bool,
    max_events: EventLimit,
}

impl SqliteStoreBuilder {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            clock: Arc::new(SystemClock),
            busy_timeout: Duration::from_secs(9),
            turn_timeout: None,
            create: true,
            allow_network: false,
            allow_other_names: false,
            accept_lost_log: false,
            reads_only: false,
            max_events: EventLimit::default(),
        }
    }

    pub(crate) fn from_url(url: Url) -> Self {
        let usual = Self::new(&url.path);
        Self {
            create: url.create.unwrap_or(usual.create),
            allow_network: url.allow_network_filesystem.unwrap_or(usual.allow_network),
            allow_other_names: url.allow_other_names.unwrap_or(usual.allow_other_names),
            accept_lost_log: url.accept_lost_log.unwrap_or(usual.accept_lost_log),
            max_events: url.max_events.unwrap_or(usual.max_events),
            ..usual
        }
    }

    /// The file, as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the store takes its time from; this host's clock by default. All that have the file open must
    /// share one time: this is for tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long an operation waits for other processes that write to the file before it answers `Busy`; 9 seconds by
    /// default, a little less than the client waits for a reply. Processes are served in the order in which they came.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// How long an operation waits for its turn while other processes of Sentinel write one after the other; the busy
    /// timeout by default.
    pub fn turn_timeout(mut self, timeout: Duration) -> Self {
        self.turn_timeout = Some(timeout);
        self
    }

    /// Whether to create a file that is not there, and to set up an empty one; yes by default. Otherwise they are
    /// refused.
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Whether to open a file on a network file system; no by default. Two hosts that open one file do not
    /// see each other's locks, and would both run the same key.
    pub fn allow_network_filesystem(mut self, allow: bool) -> Self {
        self.allow_network = allow;
        self
    }

    /// Whether to open a file that has other hard links, or that is a mount point itself; no by default. SQLite keeps
    /// the log under the file's name: two programs that use two names do not see each other's commits.
    pub fn allow_other_names(mut self, allow: bool) -> Self {
        self.allow_other_names = allow;
        self
    }

    /// Whether to open a file whose log is missing; no by default. What was acknowledged last stood in the log: the
    /// keys concerned may run again. Opening the file once with this option is enough.
    pub fn accept_lost_log(mut self, accept: bool) -> Self {
        self.accept_lost_log = accept;
        self
    }

    /// Whether to open the file to read it and nothing else; no by default. Then it is not created, it may lie on a
    /// read-only file system, and every write is refused.
    pub fn reads_only(mut self, reads_only: bool) -> Self {
        self.reads_only = reads_only;
        self
    }

    /// How many events of one record are kept; 1,000 by default. The transition that exceeds it drops the oldest
    /// quarter.
    pub fn max_events(mut self, limit: EventLimit) -> Self {
        self.max_events = limit;
        self
    }

    /// Checks the file and the place where it lies. What keeps it from being used is a finding.
    ///
    /// **Effect:** none that stays; no file is created, and an empty one stays empty. **Errors:** there is no file, or
    /// it cannot be reached.
    pub async fn health(self) -> Result<Health, StoreError> {
        let options = Arc::new(self.options()?);
        doctor::health(options, self.clock).await
    }

    pub(crate) fn options(&self) -> Result<OpenOptions, StoreError> {
        Ok(OpenOptions {
            path: absolute(&self.path)?,
            busy_timeout: self.busy_timeout,
            turn_timeout: self.turn_timeout.unwrap_or(self.busy_timeout),
            create: self.create && !self.reads_only,
            allow_network: self.allow_network,
            allow_other_names: self.allow_other_names,
            accept_lost_log: self.accept_lost_log,
            reads_only: self.reads_only,
            max_events: self.max_events,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_a_url_are_those_of_the_builder() {
        let url = "sqlite:a?sentinel_allow_other_names=true&sentinel_create=false&sentinel_max_events=9\
                   &sentinel_accept_lost_log=true&sentinel_allow_network_filesystem=true";
        let parsed = SqliteStoreBuilder::from_url(crate::url::parse(url).unwrap());
        let built = SqliteStoreBuilder::new(Path::new("a")).allow_other_names(true).create(false);
        let built = built.max_events(EventLimit::new(9).unwrap());
        let built = built.accept_lost_log(true).allow_network_filesystem(true);
        assert_eq!(format!("{parsed:?}"), format!("{built:?}"));
        let usual = SqliteStoreBuilder::from_url(crate::url::parse("sqlite:a").unwrap());
        assert_eq!(format!("{usual:?}"), format!("{:?}", SqliteStoreBuilder::new(Path::new("a"))));
    }
}
