//! Detecting data loss: whether the servers still hold what was written to them.
//!
//! A server that lost everything has no marker, and each script checks for it. A server may have lost its newest
//! writes while the marker survives: then it is another server than the one that was registered, because it was
//! restarted or promoted. A server keeps scripts only while it runs, and their text holds the epoch of the
//! registration, so such a server answers NOSCRIPT to every call. A client loads the scripts only after it has
//! checked the server's identity.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sentinel_core::operation::Stamp;
use sentinel_core::{Address, ErrorKind, EventLimit, Namespace, StoreError};
use tokio::time::Instant;

use super::doubt::CurrentDoubt;
use super::last_acknowledged::LastAcknowledged;
use super::metadata::{Registration, StoreMetadata};
use super::registered::{Registered, lock};
use super::server::{Class, Server, class, identities};
use super::witness_file::Known;
use crate::connection::{Command, Connection};
use crate::durability::Durability;
use crate::error::{data_loss, possible_data_loss};
use crate::schema::Names;
use crate::script::{Edit, ScriptParameters, Scripts};

/// How often the deployment is checked again: it can be changed while it runs.
pub(crate) const RECHECK_INTERVAL: Duration = Duration::from_secs(5);

/// What a store must know of its servers.
pub(crate) struct DataLossGuard {
    pub(crate) names: Names,
    pub(crate) allow_lossy: bool,
    pub(crate) edit: Option<Edit>,
    /// How many events of a record are kept at most.
    pub(crate) events: EventLimit,
    /// What the servers must be able to wait for.
    pub(crate) durability: Durability,
    pub(crate) last_acknowledged: LastAcknowledged,
    pub(crate) recheck_interval: Duration,
    /// Whether reads are answered while the store is in doubt.
    pub(crate) read_in_doubt: bool,
    pub(super) in_doubt: CurrentDoubt,
    current: Mutex<Option<Arc<Registered>>>,
    renewing: tokio::sync::Mutex<()>,
}

impl fmt::Debug for DataLossGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataLossGuard").field("names", &self.names).finish_non_exhaustive()
    }
}

impl DataLossGuard {
    pub(crate) fn new(
        names: Names,
        allow_lossy: bool,
        events: EventLimit,
        edit: Option<Edit>,
        last_acknowledged: LastAcknowledged,
    ) -> Self {
        let (durability, in_doubt, current, renewing) = Default::default();
        let (recheck_interval, read_in_doubt) = (RECHECK_INTERVAL, false);
        Self {
            names,
            allow_lossy,
            edit,
            events,
            durability,
            last_acknowledged,
            recheck_interval,
            read_in_doubt,
            in_doubt,
            current,
            renewing,
        }
    }

    /// The registered store; checks the servers first if that was not done yet, or not recently.
    pub(crate) async fn registered(
        &self,
        connection: &dyn Connection,
    ) -> Result<Arc<Registered>, StoreError> {
        let current = lock(&self.current).clone();
        match current {
            Some(registered) if lock(&registered.checked).elapsed() < self.recheck_interval => Ok(registered),
            _ => self.check(connection, None).await,
        }
    }

    /// The registered store, by a check that begins now, because the connection is new.
    pub(crate) async fn registered_anew(
        &self,
        connection: &dyn Connection,
    ) -> Result<Arc<Registered>, StoreError> {
        self.check(connection, None).await
    }

    /// Checks again, because a server did not know a script or a marker was gone. A concurrent second caller uses the
    /// result of the first.
    pub(crate) async fn renew(
        &self,
        connection: &dyn Connection,
        stale: &Arc<Registered>,
    ) -> Result<Arc<Registered>, StoreError> {
        self.check(connection, Some(stale)).await
    }

    async fn check(
        &self,
        connection: &dyn Connection,
        stale: Option<&Arc<Registered>>,
    ) -> Result<Arc<Registered>, StoreError> {
        let asked = Instant::now();
        let _one_at_a_time = self.renewing.lock().await;
        let before = lock(&self.current).clone();
        if let Some(now) = &before {
            let renewed = stale.is_some_and(|stale| !Arc::ptr_eq(now, stale));
            if renewed || *lock(&now.checked) >= asked {
                return Ok(now.clone());
            }
        }
        let began = Instant::now();
        let servers = Server::ask_all(connection).await?;
        self.acceptable(&servers)?;
        let metadata = self.checked_metadata(connection, &servers, before.as_deref()).await?;
        let registered = match before {
            Some(before) if before.metadata == metadata && before.servers == identities(&servers) => {
                *lock(&before.checked) = began;
                before
            }
            _ => Arc::new(self.register(metadata, &servers, began)),
        };
        *lock(&self.current) = Some(registered.clone());
        self.in_doubt.clear_if_resolved(registered.metadata.registered_at);
        Ok(registered)
    }

    fn register(&self, metadata: StoreMetadata, servers: &[Server], began: Instant) -> Registered {
        let parameters =
            ScriptParameters { store: &metadata.store, epoch: &metadata.epoch, events: self.events };
        Registered {
            scripts: Scripts::new(&parameters, self.edit.as_ref()),
            read_only: false,
            metadata,
            servers: identities(servers),
            namespaces: Mutex::default(),
            caused: Mutex::default(),
            checked: Mutex::new(began),
        }
    }

    /// Whether the servers can keep what they acknowledge.
    pub(crate) fn acceptable(&self, servers: &[Server]) -> Result<(), StoreError> {
        let refused = servers.iter().find_map(Server::refused);
        let lossy = servers.iter().find_map(Server::lossy).filter(|_| !self.allow_lossy);
        let unfit = || servers.iter().find_map(|server| server.cannot_wait(self.durability));
        match refused.or(lossy).or_else(unfit) {
            Some(why) => Err(StoreError::not_applied(ErrorKind::DeploymentRefused, why)),
            None => Ok(()),
        }
    }

    /// The metadata, if the servers are the ones that were registered, or can be trusted to hold what those held.
    async fn checked_metadata(
        &self,
        connection: &dyn Connection,
        servers: &[Server],
        before: Option<&Registered>,
    ) -> Result<StoreMetadata, StoreError> {
        let Some(metadata) = StoreMetadata::read(connection, &self.names).await? else {
            return Err(self.missing(before.is_some(), &identities(servers)));
        };
        let (who, class) = (identities(servers), class(servers));
        if class > metadata.class {
            StoreMetadata::weaken(connection, &self.names, class).await?;
        }
        let known = before.map(Registered::known).or_else(|| self.last_acknowledged.recall(&metadata.store));
        if let Some(known) = known
            && let Some(why) = self.lost(connection, &known, &metadata, &who).await?
        {
            StoreMetadata::doubt(connection, &self.names, &why).await?;
            return Err(possible_data_loss(&why));
        }
        if let Some(why) = metadata.doubt.as_ref().filter(|_| !self.allow_lossy) {
            return Err(possible_data_loss(why));
        }
        if who.iter().all(|one| metadata.servers.contains(one)) {
            return Ok(StoreMetadata { class: metadata.class.max(class), ..metadata });
        }
        let keeps_all = metadata.class == Class::Always && class == Class::Always;
        if !keeps_all && !self.allow_lossy {
            let weakest = metadata.class.max(class);
            return Err(possible_data_loss(&format!(
                "it was restarted or promoted, and its durability is {weakest:?}"
            )));
        }
        tracing::warn!(
            servers = ?who, class = %class,
            "the server was restarted; its settings guarantee that it has all that it acknowledged"
        );
        StoreMetadata::accept_servers(connection, &self.names, metadata.class.max(class), &who).await?;
        StoreMetadata::read(connection, &self.names).await?.ok_or_else(|| self.missing(true, &who))
    }

    /// What the servers do not hold although they acknowledged it to this process or an earlier one; None: nothing is
    /// known to be lost.
    async fn lost(
        &self,
        connection: &dyn Connection,
        known: &Known,
        metadata: &StoreMetadata,
        who: &[String],
    ) -> Result<Option<String>, StoreError> {
        if metadata.store != known.store || metadata.registered_at > known.registered_at {
            // An operator has registered the servers meanwhile.
            self.last_acknowledged.clear();
        }
        if self.allow_lossy || metadata.store != known.store {
            return Ok(None);
        }
        if metadata.registered_at < known.registered_at {
            return Ok(Some("it has lost the record that an operator registered it again".into()));
        }
        match known.servers == who {
            true => Ok(None),
            false => self.last_acknowledged.missing_on(connection, &self.names, metadata.buckets).await,
        }
    }

    /// Why there is no metadata: a store that this process, or an earlier one on this host, knew is gone, or none was
    /// set up.
    fn missing(&self, known: bool, servers: &[String]) -> StoreError {
        if known {
            return data_loss("what this process knew about it is lost");
        }
        if let Some(gone) = self.last_acknowledged.lost_store(servers) {
            return data_loss(&gone);
        }
        let why = format!(
            "there is no marker under the prefix {:?}: it was never set up, or the server was emptied; if it was ever \
             set up, stop the workers and find out what ran first",
            self.names.prefix()
        );
        StoreError::not_applied(ErrorKind::NotInitialised, why)
    }

    /// A change was acknowledged.
    pub(crate) fn acknowledged(&self, address: &Address, stamp: &Stamp) {
        self.last_acknowledged.acknowledged(address, stamp, || Some(lock(&self.current).as_ref()?.known()));
    }

    /// Creates the metadata that distinguishes an emptied server from a new one, or registers the present servers.
    pub(crate) async fn init(
        &self,
        connection: &dyn Connection,
        buckets: Option<u32>,
    ) -> Result<Registration, StoreError> {
        let began = Instant::now();
        let servers = Server::ask_all(connection).await?;
        self.acceptable(&servers)?;
        let who = identities(&servers);
        let gone = match StoreMetadata::read(connection, &self.names).await? {
            None => self.last_acknowledged.lost_store(&who),
            Some(_) => None,
        };
        let (metadata, registration) =
            StoreMetadata::register(connection, &self.names, &servers, buckets).await?;
        self.last_acknowledged.clear();
        let registration = match gone {
            Some(gone) => {
                self.last_acknowledged.forget_lost_stores(&who);
                Registration::Again { doubt: Some(gone) }
            }
            None => registration,
        };
        *lock(&self.current) = Some(Arc::new(self.register(metadata, &servers, began)));
        Ok(registration)
    }

    /// Loads the scripts on all masters, which were just checked. If a server is another one afterwards, the call
    /// fails.
    pub(crate) async fn load(
        &self,
        connection: &dyn Connection,
        registered: &Registered,
    ) -> Result<(), StoreError> {
        Self::load_scripts(connection, registered).await?;
        let who = identities(&Server::ask_all(connection).await?);
        match who == registered.servers {
            true => Ok(()),
            false => {
                Err(StoreError::not_applied(ErrorKind::Busy, "the server was restarted or moved meanwhile"))
            }
        }
    }

    pub(super) async fn load_scripts(
        connection: &dyn Connection,
        registered: &Registered,
    ) -> Result<(), StoreError> {
        for node in connection.masters() {
            for text in registered.scripts.texts() {
                connection.call(Command::new("SCRIPT", node.clone()).word("LOAD").arg(text)).await?;
            }
        }
        Ok(())
    }

    /// Whether a namespace is marked: it was used.
    pub(crate) async fn has(
        &self,
        connection: &dyn Connection,
        registered: &Registered,
        namespace: &Namespace,
    ) -> Result<bool, StoreError> {
        let known = lock(&registered.namespaces).contains(namespace);
        let has = known || registered.metadata.has(connection, &self.names, namespace).await?;
        if has && !known {
            lock(&registered.namespaces).insert(namespace.clone());
        }
        Ok(has)
    }

    /// Makes sure that a namespace is marked.
    pub(crate) async fn prepare(
        &self,
        connection: &dyn Connection,
        registered: &Registered,
        namespace: &Namespace,
    ) -> Result<(), StoreError> {
        if lock(&registered.namespaces).contains(namespace) {
            return Ok(());
        }
        registered.metadata.prepare(connection, &self.names, namespace).await?;
        lock(&registered.namespaces).insert(namespace.clone());
        Ok(())
    }

    /// Makes sure that a namespace is in the set of those with causes, before its first claim with a cause.
    pub(crate) async fn enter_causes(
        &self,
        connection: &dyn Connection,
        registered: &Registered,
        namespace: &Namespace,
    ) -> Result<(), StoreError> {
        if lock(&registered.caused).contains(namespace) {
            return Ok(());
        }
        let (key, name) = (self.names.caused(), namespace.as_str().to_owned());
        connection.call(Command::new("SADD", key.to).arg(key.name).arg(name)).await?;
        lock(&registered.caused).insert(namespace.clone());
        Ok(())
    }
}
