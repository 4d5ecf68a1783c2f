use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};
use std::time::Duration;

use sentinel_core::store::Health;
use sentinel_core::{ErrorKind, EventLimit, Invalid, StoreError};

use crate::batch::call::Caller;
use crate::connection::barrier::Barrier;
use crate::connection::connector::LazyConnection;
use crate::connection::{Connector, tls};
use crate::data_loss::{DataLossGuard, LastAcknowledged, Location, RECHECK_INTERVAL};
use crate::doctor;
use crate::durability::Durability;
use crate::schema::Names;
use crate::script::Edit;
use crate::url::{self, Parsed};

/// The settings of a store.
pub(crate) struct Parts {
    pub(crate) main: Arc<Caller>,
    pub(crate) heartbeats: Arc<Caller>,
    pub(crate) connector: Arc<Connector>,
}

/// How to open a [`RedisStore`](crate::RedisStore).
#[derive(Clone)]
#[must_use = "nothing is opened before `open`"]
pub struct RedisStoreBuilder {
    url: Result<Parsed, String>,
    prefix: String,
    pub(crate) buckets: Option<u32>,
    events: EventLimit,
    deadline: Duration,
    durability: Durability,
    ca: Option<PathBuf>,
    password: Option<PathBuf>,
    allow_lossy: bool,
    offset: Arc<AtomicI64>,
    recheck_interval: Duration,
    edit: Option<Edit>,
    witness_folder: Option<PathBuf>,
    read_in_doubt: bool,
}

impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL holds a password.
        f.debug_struct("RedisStoreBuilder").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl RedisStoreBuilder {
    pub(crate) fn from_url(url: &str) -> Self {
        let url = url::parse(url);
        let given = url.as_ref().ok();
        Self {
            prefix: given.and_then(|url| url.prefix.clone()).unwrap_or_else(|| "sentinel".into()),
            ca: given.and_then(|url| url.ca.clone()).map(PathBuf::from),
            password: given.and_then(|url| url.password_file.clone()).map(PathBuf::from),
            durability: given.and_then(|url| url.durability).unwrap_or_default(),
            allow_lossy: given.is_some_and(|url| url.allow_lossy),
            buckets: None,
            events: given.and_then(|url| url.events).unwrap_or_default(),
            deadline: Duration::from_secs(10),
            offset: Arc::default(),
            recheck_interval: RECHECK_INTERVAL,
            edit: None,
            witness_folder: None,
            read_in_doubt: false,
            url,
        }
    }

    /// The prefix of the names of all keys; `sentinel` by default. Stores of different prefixes share nothing.
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// In how many buckets a namespace is spread over the slots of a cluster, 1 to 1024. The default is 16 in a
    /// cluster, and 1 on one server: requests to one bucket share a script call. The number takes effect when
    /// [`init`](Self::init) sets a store up for the first time, and can never be changed: choose 16 if you start with
    /// one server and will move to a cluster.
    pub fn buckets(mut self, buckets: u32) -> Self {
        self.buckets = Some(buckets);
        self
    }

    /// The most events that are kept of one record; 1,000 by default. The oldest are dropped beyond that, and at
    /// least three quarters are left: a lease that is taken and given back for years does not fill the server's memory.
    pub fn max_events(mut self, limit: EventLimit) -> Self {
        self.events = limit;
        self
    }

    /// How long a command may take before its outcome counts as ambiguous, and how long connecting may; 10 seconds by
    /// default.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How durable a begin, a result or a decision must be before it is answered. Servers that cannot wait for that are
    /// refused when the store is opened.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The file with the certificates of those who may sign the server's, in PEM; by default the operating system's.
    /// It is read again at each connection, so that it can be replaced while the program runs.
    pub fn ca_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca = Some(file.into());
        self
    }

    /// The file with the password, of the user that the URL names; a newline at its end does not count. It is read
    /// again when the server refuses a connection, so that a password can be changed while the program runs: write the
    /// new one to the file before the server forgets the old one.
    pub fn password_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.password = Some(file.into());
        self
    }

    /// Accepts a server that drops records when memory is short, keeps nothing through a restart, or was restarted or
    /// promoted without its newest writes. Keys then run again without any error. For tests and trials.
    pub fn allow_lossy(mut self, allowed: bool) -> Self {
        self.allow_lossy = allowed;
        self
    }

    /// Writes the newest acknowledged change to a witness file in a folder, and checks that a restarted server still
    /// has the change of that file before it is trusted. This is for short-lived programs: without the file, the next
    /// program on this host would not know which change to check. One small file for each store is written at each
    /// change, and not synced; the folder is created when needed.
    pub fn witness_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.witness_folder = Some(folder.into());
        self
    }

    /// Answers `inspect`, `list`, `history` and a purge that only counts also while the store is in doubt, or has
    /// lost a part of its data: for tools with which an operator compares before deciding. The answers may lack
    /// changes that were acknowledged; [`RedisStore::doubt`](crate::RedisStore::doubt) and a warning in the log give
    /// the reason. Changes of a record stay refused, and so do results that would be replayed. Off by default: a
    /// program that decides by what it reads should get the error.
    pub fn read_in_doubt(mut self, read: bool) -> Self {
        self.read_in_doubt = read;
        self
    }

    /// Moves the clock of this store by microseconds. For tests: all that use a server must share one time.
    #[doc(hidden)]
    pub fn clock_offset(mut self, offset: Arc<AtomicI64>) -> Self {
        self.offset = offset;
        self
    }

    /// How often the deployment is checked again. For tests that change it.
    #[doc(hidden)]
    pub fn recheck_interval(mut self, after: Duration) -> Self {
        self.recheck_interval = after;
        self
    }

    /// Reads or changes each script before it is used. For tests that break one.
    #[doc(hidden)]
    pub fn edit_scripts(mut self, edit: Edit) -> Self {
        self.edit = Some(edit);
        self
    }

    /// Checks the settings without connecting. [`open`](Self::open) and the others do so first.
    pub fn check(&self) -> Result<(), StoreError> {
        self.clone().parts().map(drop)
    }

    /// Checks the deployment, also where the store was never set up: what [`open`](Self::open) would refuse is a
    /// finding.
    pub async fn health(self) -> Result<Health, StoreError> {
        doctor::health(&self.parts()?.main).await
    }

    pub(crate) fn parts(self) -> Result<Parts, StoreError> {
        let bad = |why| StoreError::not_applied(ErrorKind::InvalidRequest, format!("the Redis URL {why}"));
        let Parsed { mut config, tls, .. } = self.url.map_err(bad)?;
        if self.deadline < Duration::from_millis(1) {
            return Err(Invalid::new("deadline", "must be at least a millisecond").into());
        }
        if let Some(buckets) = self.buckets.filter(|buckets| !(1..=1024).contains(buckets)) {
            return Err(Invalid::new("buckets", format!("must be 1 to 1024, is {buckets}")).into());
        }
        if tls {
            tls::set(&mut config, self.ca)?;
        }
        if self.password.is_some() && config.password.is_some() {
            return Err(bad("has a password, and there is a file with one: give one of them".into()));
        }
        let names = Names::new(&self.prefix)?;
        let connector = Connector { config, password: self.password, deadline: self.deadline };
        connector.check()?;
        let connector = Arc::new(connector);
        let last_acknowledged =
            LastAcknowledged::new(self.witness_folder, Location::of(&connector, names.prefix()));
        let mut data_loss =
            DataLossGuard::new(names, self.allow_lossy, self.events, self.edit, last_acknowledged);
        (data_loss.recheck_interval, data_loss.durability) = (self.recheck_interval, self.durability);
        data_loss.read_in_doubt = self.read_in_doubt;
        let data_loss = Arc::new(data_loss);
        let buckets = Arc::<AtomicU32>::default();
        let caller = || {
            Ok::<_, StoreError>(Arc::new(Caller {
                data_loss: data_loss.clone(),
                connection: LazyConnection::new(connector.clone()),
                barrier: Barrier::new(connector.clone(), self.durability)?,
                offset: self.offset.clone(),
                deadline: self.deadline,
                buckets: buckets.clone(),
                checked: AtomicU64::default(),
            }))
        };
        Ok(Parts { main: caller()?, heartbeats: caller()?, connector: connector.clone() })
    }
}
