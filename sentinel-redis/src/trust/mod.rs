//! The amnesia fuse: whether the servers still hold what was written to them.
//!
//! A server that forgot everything has no marker, and each script looks for it. One that may have forgotten its newest
//! writes while the marker survives is another server than the one that was armed: it was restarted, or promoted. Scripts
//! are known to a running server only, and carry the epoch of the arming in their text, so such a server answers NOSCRIPT to
//! all that it is asked. Only whoever has looked at who it is gives it the scripts.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sentinel_core::operation::Stamp;
use sentinel_core::{Address, ErrorKind, EventLimit, Namespace, StoreError};
use tokio::time::Instant;

use crate::barrier::Durability;
use crate::names::Names;
use crate::script::{Baked, Edit, Scripts};
use crate::wire::{Command, Wire};

mod bare;
mod in_doubt;
mod mark;
mod note;
pub(crate) mod root;
pub(crate) mod server;
mod witness;

pub(crate) use note::Location;
use root::Root;
use server::{Class, Server, class, identities};
pub(crate) use witness::Witness;

/// How often the deployment is looked at again: it can be changed while it runs.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What a store must know of its servers.
pub(crate) struct Trust {
    pub(crate) names: Names,
    pub(crate) allow_lossy: bool,
    pub(crate) edit: Option<Edit>,
    /// How many events of a record are kept at most.
    pub(crate) events: EventLimit,
    /// What the servers must be able to wait for.
    pub(crate) durability: Durability,
    pub(crate) witness: Witness,
    pub(crate) look_again: Duration,
    /// Whether reads are answered while the store is in doubt.
    pub(crate) read_in_doubt: bool,
    in_doubt: in_doubt::Found,
    standing: Mutex<Option<Arc<Armed>>>,
    renewing: tokio::sync::Mutex<()>,
}

/// What was armed, and looked at.
pub(crate) struct Armed {
    pub(crate) root: Root,
    pub(crate) scripts: Scripts,
    /// The store is in doubt: nothing is trusted, and its scripts cannot write.
    pub(crate) read_only: bool,
    servers: Vec<String>,
    namespaces: Mutex<HashSet<Namespace>>,
    /// When the newest look began that found all well.
    looked: Mutex<Instant>,
}

/// What is known of a store that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) store: String,
    pub(crate) armed_at: u64,
    pub(crate) servers: Vec<String>,
}

/// What [`RedisStoreBuilder::arm`](crate::RedisStoreBuilder::arm) did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arming {
    /// It set the store up.
    SetUp,
    /// The store was set up before, and was armed again; or a store that was set up before is gone, of which an earlier
    /// process on this host left a note, and a new one was set up in its place.
    Again {
        /// What was in doubt until now, or is gone.
        doubt: Option<String>,
    },
}

impl Armed {
    fn known(&self) -> Known {
        let Root { store, armed_at, .. } = &self.root;
        Known { store: store.clone(), armed_at: *armed_at, servers: self.servers.clone() }
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("names", &self.names).finish_non_exhaustive()
    }
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Trust {
    pub(crate) fn new(
        names: Names,
        allow_lossy: bool,
        events: EventLimit,
        edit: Option<Edit>,
        witness: Witness,
    ) -> Self {
        let (durability, in_doubt, standing, renewing) = Default::default();
        let (look_again, read_in_doubt) = (LOOK_AGAIN, false);
        Self {
            names,
            allow_lossy,
            edit,
            events,
            durability,
            witness,
            look_again,
            read_in_doubt,
            in_doubt,
            standing,
            renewing,
        }
    }

    /// What is armed; looks at it first if nobody has, or not for a while.
    pub(crate) async fn armed(&self, wire: &dyn Wire) -> Result<Arc<Armed>, StoreError> {
        let standing = unpoisoned(&self.standing).clone();
        match standing {
            Some(armed) if unpoisoned(&armed.looked).elapsed() < self.look_again => Ok(armed),
            _ => self.look(wire, None).await,
        }
    }

    /// What is armed, by a look that begins now: the connection is another.
    pub(crate) async fn armed_anew(&self, wire: &dyn Wire) -> Result<Arc<Armed>, StoreError> {
        self.look(wire, None).await
    }

    /// Looks again, because a server did not know a script or a marker was gone. Whoever comes second finds it done.
    pub(crate) async fn renew(&self, wire: &dyn Wire, stale: &Arc<Armed>) -> Result<Arc<Armed>, StoreError> {
        self.look(wire, Some(stale)).await
    }

    async fn look(&self, wire: &dyn Wire, stale: Option<&Arc<Armed>>) -> Result<Arc<Armed>, StoreError> {
        let asked = Instant::now();
        let _one_at_a_time = self.renewing.lock().await;
        let before = unpoisoned(&self.standing).clone();
        if let Some(now) = &before {
            let renewed = stale.is_some_and(|stale| !Arc::ptr_eq(now, stale));
            if renewed || *unpoisoned(&now.looked) >= asked {
                return Ok(now.clone());
            }
        }
        let began = Instant::now();
        let servers = Server::ask_all(wire).await?;
        self.acceptable(&servers)?;
        let root = self.trusted(wire, &servers, before.as_deref()).await?;
        let armed = match before {
            Some(before) if before.root == root && before.servers == identities(&servers) => {
                *unpoisoned(&before.looked) = began;
                before
            }
            _ => Arc::new(self.arm(root, &servers, began)),
        };
        *unpoisoned(&self.standing) = Some(armed.clone());
        self.in_doubt.settled(armed.root.armed_at);
        Ok(armed)
    }

    fn arm(&self, root: Root, servers: &[Server], began: Instant) -> Armed {
        let baked = Baked { store: &root.store, epoch: &root.epoch, events: self.events };
        Armed {
            scripts: Scripts::new(&baked, self.edit.as_ref()),
            read_only: false,
            root,
            servers: identities(servers),
            namespaces: Mutex::default(),
            looked: Mutex::new(began),
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

    /// The root, if the servers are the ones that were armed, or can be trusted to hold what those held.
    async fn trusted(
        &self,
        wire: &dyn Wire,
        servers: &[Server],
        before: Option<&Armed>,
    ) -> Result<Root, StoreError> {
        let Some(root) = Root::read(wire, &self.names).await? else {
            return Err(self.missing(before.is_some(), &identities(servers)));
        };
        let (who, class) = (identities(servers), class(servers));
        if class > root.class {
            Root::weaken(wire, &self.names, class).await?;
        }
        let known = before.map(Armed::known).or_else(|| self.witness.recall(&root.store));
        if let Some(known) = known
            && let Some(why) = self.lost(wire, &known, &root, &who).await?
        {
            Root::doubt(wire, &self.names, &why).await?;
            return Err(doubtful(&why));
        }
        if let Some(why) = root.doubt.as_ref().filter(|_| !self.allow_lossy) {
            return Err(doubtful(why));
        }
        if who.iter().all(|one| root.servers.contains(one)) {
            return Ok(Root { class: root.class.max(class), ..root });
        }
        let keeps_all = root.class == Class::Always && class == Class::Always;
        if !keeps_all && !self.allow_lossy {
            let weakest = root.class.max(class);
            return Err(doubtful(&format!("it was restarted or promoted, and is of the class {weakest:?}")));
        }
        tracing::warn!(servers = ?who, class = %class, "the server was restarted; it is trusted to hold all it acknowledged");
        Root::trust(wire, &self.names, root.class.max(class), &who).await?;
        Root::read(wire, &self.names).await?.ok_or_else(|| self.missing(true, &who))
    }

    /// What the servers do not hold although this process, or one before it, was told it; None: nothing that it knows of.
    async fn lost(
        &self,
        wire: &dyn Wire,
        known: &Known,
        root: &Root,
        who: &[String],
    ) -> Result<Option<String>, StoreError> {
        if root.store != known.store || root.armed_at > known.armed_at {
            // Somebody has looked meanwhile, and said that it is well.
            self.witness.forget();
        }
        if self.allow_lossy || root.store != known.store {
            return Ok(None);
        }
        if root.armed_at < known.armed_at {
            return Ok(Some("it has lost that somebody armed it again".into()));
        }
        match known.servers == who {
            true => Ok(None),
            false => self.witness.misses(wire, &self.names, root.buckets).await,
        }
    }

    /// Why there is no root: a store that this process, or an earlier one on this host, knew is gone, or none was set up.
    fn missing(&self, known: bool, servers: &[String]) -> StoreError {
        if known {
            return amnesia("what this process knew of it is gone");
        }
        if let Some(gone) = self.witness.of_a_store_that_is_gone(servers) {
            return amnesia(&gone);
        }
        let why = format!(
            "there is no marker under the prefix {:?}: it was never set up, or the server was emptied; if it was ever set up, \
             stop the workers and find out what ran first",
            self.names.prefix()
        );
        StoreError::not_applied(ErrorKind::NotInitialised, why)
    }

    /// A change was acknowledged.
    pub(crate) fn saw(&self, address: &Address, stamp: &Stamp) {
        self.witness.saw(address, stamp, || Some(unpoisoned(&self.standing).as_ref()?.known()));
    }

    /// Creates what tells an emptied server from a new one, or trusts the present servers anew.
    pub(crate) async fn init(&self, wire: &dyn Wire, buckets: Option<u32>) -> Result<Arming, StoreError> {
        let began = Instant::now();
        let servers = Server::ask_all(wire).await?;
        self.acceptable(&servers)?;
        let who = identities(&servers);
        let gone = match Root::read(wire, &self.names).await? {
            None => self.witness.of_a_store_that_is_gone(&who),
            Some(_) => None,
        };
        let (root, arming) = Root::arm(wire, &self.names, &servers, buckets).await?;
        self.witness.forget();
        let arming = match gone {
            Some(gone) => {
                self.witness.forget_stores_that_are_gone(&who);
                Arming::Again { doubt: Some(gone) }
            }
            None => arming,
        };
        *unpoisoned(&self.standing) = Some(Arc::new(self.arm(root, &servers, began)));
        Ok(arming)
    }

    /// Gives all masters the scripts: they were just looked at. One that is another by the time it has them is not used.
    pub(crate) async fn load(&self, wire: &dyn Wire, armed: &Armed) -> Result<(), StoreError> {
        Self::load_scripts(wire, armed).await?;
        let who = identities(&Server::ask_all(wire).await?);
        match who == armed.servers {
            true => Ok(()),
            false => {
                Err(StoreError::not_applied(ErrorKind::Busy, "the server was restarted or moved meanwhile"))
            }
        }
    }

    async fn load_scripts(wire: &dyn Wire, armed: &Armed) -> Result<(), StoreError> {
        for node in wire.masters() {
            for text in armed.scripts.texts() {
                wire.call(Command::new("SCRIPT", node.clone()).word("LOAD").arg(text)).await?;
            }
        }
        Ok(())
    }

    /// Whether a namespace is marked: it was used.
    pub(crate) async fn has(
        &self,
        wire: &dyn Wire,
        armed: &Armed,
        namespace: &Namespace,
    ) -> Result<bool, StoreError> {
        let known = unpoisoned(&armed.namespaces).contains(namespace);
        let has = known || armed.root.has(wire, &self.names, namespace).await?;
        if has && !known {
            unpoisoned(&armed.namespaces).insert(namespace.clone());
        }
        Ok(has)
    }

    /// Makes sure that a namespace is marked.
    pub(crate) async fn prepare(
        &self,
        wire: &dyn Wire,
        armed: &Armed,
        namespace: &Namespace,
    ) -> Result<(), StoreError> {
        if unpoisoned(&armed.namespaces).contains(namespace) {
            return Ok(());
        }
        armed.root.prepare(wire, &self.names, namespace).await?;
        unpoisoned(&armed.namespaces).insert(namespace.clone());
        Ok(())
    }
}

/// A server that forgot.
pub(crate) fn amnesia(why: &str) -> StoreError {
    StoreError::not_applied(ErrorKind::DataLoss, why)
}

fn doubtful(why: &str) -> StoreError {
    StoreError::not_applied(ErrorKind::PossibleDataLoss, why)
}
