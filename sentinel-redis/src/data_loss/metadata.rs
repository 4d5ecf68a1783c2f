//! The metadata of the whole store: a hash in a slot of its own, written by `init`.

use std::collections::HashMap;

use bytes::Bytes;
use sentinel_core::{ClaimId, ErrorKind, Namespace, StoreError};

use super::bucket_markers;
use super::server::{Class, Server, class, identities};
use super::setup_script::{self, SET_METADATA};
use crate::connection::{Command, Connection, Reply, unexpected_reply};
use crate::error::data_loss;
use crate::schema::{KeyRef, Names};

const FORMAT: &str = "1";

/// What [`RedisStoreBuilder::register`](crate::RedisStoreBuilder::register) did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registration {
    /// It set the store up.
    SetUp,
    /// The store was set up before, and its servers were registered again. Or a store that was set up before is gone,
    /// of which an earlier process on this host left a witness file, and a new one was set up in its place.
    Again {
        /// What was in doubt until now, or is gone.
        doubt: Option<String>,
    },
}

/// The metadata, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreMetadata {
    /// Distinguishes this store from one that was set up after the server was emptied.
    pub(crate) store: String,
    /// Changes with each registration: scripts of another epoch are not known to the servers.
    pub(crate) epoch: String,
    /// When its servers were last registered, in microseconds of the server's clock; always later than before.
    pub(crate) registered_at: u64,
    /// How many buckets a namespace has. It never changes.
    pub(crate) buckets: u32,
    /// The weakest class of the deployment since it was registered.
    pub(crate) class: Class,
    /// The servers that are trusted to hold what was written.
    pub(crate) servers: Vec<String>,
    /// Why a client doubts that they do.
    pub(crate) doubt: Option<String>,
}

impl StoreMetadata {
    /// None: it is not there.
    pub(crate) async fn read(connection: &dyn Connection, names: &Names) -> Result<Option<Self>, StoreError> {
        let metadata = Self::read_incomplete(connection, names).await?;
        // The epoch is written last: without one, the store is being set up.
        Ok(metadata.filter(|metadata| !metadata.epoch.is_empty()))
    }

    async fn read_incomplete(connection: &dyn Connection, names: &Names) -> Result<Option<Self>, StoreError> {
        let mut fields = Self::fields(connection, names).await?;
        if !fields.contains_key("store") {
            return Ok(None);
        }
        let mut take = |name: &str| fields.remove(name).unwrap_or_default();
        if take("format").as_str() > FORMAT {
            let detail = "it was set up by a newer release";
            return Err(StoreError::not_applied(ErrorKind::NewerSchema, detail));
        }
        let buckets = take("buckets").parse().unwrap_or_default();
        if buckets == 0 {
            return Err(StoreError::not_applied(
                ErrorKind::Corrupt,
                "the store's metadata has no number \
                of buckets",
            ));
        }
        let servers = take("servers").split(' ').filter(|one| !one.is_empty()).map(str::to_owned).collect();
        Ok(Some(Self {
            store: take("store"),
            epoch: take("epoch"),
            registered_at: Self::registered_at(connection, names).await?,
            buckets,
            class: Class::of(&take("class")),
            servers,
            doubt: Some(take("doubt")).filter(|doubt| !doubt.is_empty()),
        }))
    }

    async fn fields(
        connection: &dyn Connection,
        names: &Names,
    ) -> Result<HashMap<String, String>, StoreError> {
        let key = names.metadata();
        let reply = connection.call(Command::new("HGETALL", key.to).arg(key.name)).await?;
        let text = |reply: &Reply| reply.text().map(str::to_owned).ok_or_else(|| unexpected_reply(reply));
        let pairs = reply.list()?;
        pairs.chunks_exact(2).map(|pair| Ok((text(&pair[0])?, text(&pair[1])?))).collect()
    }

    /// Creates the metadata, or registers the present servers and clears the doubt. Concurrent calls are safe: the
    /// first one decides the store's id and number of buckets.
    pub(crate) async fn register(
        connection: &dyn Connection,
        names: &Names,
        servers: &[Server],
        buckets: Option<u32>,
    ) -> Result<(Self, Registration), StoreError> {
        let before = Self::read(connection, names).await?;
        let key = names.metadata();
        let set_once = || Command::new("HSETNX", key.to.clone()).arg(key.name.clone());
        connection.call(set_once().word("format").word(FORMAT)).await?;
        let usual = if servers.iter().any(Server::is_clustered) { 16 } else { 1 };
        connection.call(set_once().word("buckets").number(buckets.unwrap_or(usual))).await?;
        let first = connection.call(set_once().word("store").arg(random())).await?.number()? == 1;
        let created = Self::read_incomplete(connection, names).await?.ok_or_else(metadata_vanished)?;
        // Other clients continue as soon as the servers are trusted: each bucket, and the list of namespaces, is
        // ready before.
        let mut gone = Vec::new();
        for namespace in Self::namespaces(connection, names).await? {
            // A namespace is listed after all its buckets have their markers.
            let lost =
                bucket_markers::set(connection, names, &created.store, created.buckets, &namespace).await?;
            match lost {
                0 => {}
                lost => {
                    let parts = format!("{lost} of {} parts of namespace {namespace}", created.buckets);
                    gone.push(format!("what was in {parts} is gone"));
                }
            }
        }
        let list = names.namespaces();
        let list = Command::new("SADD", list.to).arg(list.name).arg(created.list_marker());
        if connection.call(list).await?.number()? == 1 && before.is_some() {
            gone.push("the list of its namespaces was gone".into());
        }
        let registration = match first {
            true => Registration::SetUp,
            false => Registration::Again { doubt: doubts(before, servers, gone) },
        };
        Self::accept_servers(connection, names, class(servers), &identities(servers)).await?;
        let before = Self::registered_at(connection, names).await?;
        let now = connection.call(Command::new("TIME", key.to.clone())).await?.micros()?;
        let registered = Command::new("ZADD", names.registered().to).arg(names.registered().name).word("GT");
        connection.call(registered.number(now.max(before + 1)).word("at")).await?;
        connection.call(Command::new("HDEL", key.to.clone()).arg(key.name.clone()).word("doubt")).await?;
        let metadata = Self::read(connection, names).await?.ok_or_else(metadata_vanished)?;
        Ok((metadata, registration))
    }

    /// Why an operator had to decide before these servers are trusted.
    fn reason_for_doubt(self, who: &[String]) -> Option<String> {
        let unknown = !who.iter().all(|one| self.servers.contains(one)) && self.class != Class::Always;
        self.doubt.or_else(|| unknown.then(|| "it was restarted or promoted".to_owned()))
    }

    /// An entry in the set of namespaces that is no namespace: it shows that the set itself was not lost.
    fn list_marker(&self) -> Bytes {
        Bytes::from(format!(":{}", self.store))
    }

    async fn registered_at(connection: &dyn Connection, names: &Names) -> Result<u64, StoreError> {
        let key = names.registered();
        let score = connection.call(Command::new("ZSCORE", key.to).arg(key.name).word("at")).await?;
        // Exact: it is below 2^53.
        Ok(score.text().and_then(|score| score.parse::<f64>().ok()).map_or(0, |score| score as u64))
    }

    /// Trusts servers, in a new epoch.
    pub(crate) async fn accept_servers(
        connection: &dyn Connection,
        names: &Names,
        class: Class,
        servers: &[String],
    ) -> Result<(), StoreError> {
        let (class, servers) = (class.to_string(), servers.join(" "));
        Self::set(connection, names, [("epoch", random()), ("class", class), ("servers", servers)]).await
    }

    /// Records a doubt for all clients.
    pub(crate) async fn doubt(
        connection: &dyn Connection,
        names: &Names,
        why: &str,
    ) -> Result<(), StoreError> {
        Self::set(connection, names, [("doubt", why.to_owned())]).await
    }

    /// The deployment has become weaker than it was.
    pub(crate) async fn weaken(
        connection: &dyn Connection,
        names: &Names,
        class: Class,
    ) -> Result<(), StoreError> {
        Self::set(connection, names, [("class", class.to_string())]).await
    }

    /// Sets fields so that a server keeps them, and later writes, even if its append-only file ends within a
    /// transaction.
    async fn set<const N: usize>(
        connection: &dyn Connection,
        names: &Names,
        fields: [(&'static str, String); N],
    ) -> Result<(), StoreError> {
        let key = names.metadata();
        let args = fields.into_iter().flat_map(|(name, value)| [name.into(), value.into()]).collect();
        setup_script::run(connection, SET_METADATA, key.to, vec![key.name], args).await.map(drop)
    }

    /// Makes a namespace ready, before its first use: the markers of all its buckets, and only then its name.
    pub(crate) async fn prepare(
        &self,
        connection: &dyn Connection,
        names: &Names,
        namespace: &Namespace,
    ) -> Result<(), StoreError> {
        if self.has(connection, names, namespace).await? {
            return Ok(());
        }
        bucket_markers::set(connection, names, &self.store, self.buckets, namespace).await?;
        let (key, name) = (names.namespaces(), namespace.as_str().to_owned());
        connection.call(Command::new("SADD", key.to).arg(key.name).arg(name)).await?;
        Ok(())
    }

    /// Whether a namespace is ready. A lost set of namespaces is an error: marking a namespace again would make its
    /// lost records look as if they never existed.
    pub(crate) async fn has(
        &self,
        connection: &dyn Connection,
        names: &Names,
        namespace: &Namespace,
    ) -> Result<bool, StoreError> {
        let key = names.namespaces();
        let has = |name: Bytes| {
            let has = Command::new("SISMEMBER", key.to.clone()).arg(key.name.clone());
            connection.call(has.arg(name))
        };
        if has(Bytes::from(namespace.as_str().to_owned())).await?.number()? == 1 {
            return Ok(true);
        }
        match has(self.list_marker()).await?.number()? {
            1 => Ok(false),
            _ => Err(data_loss("the list of its namespaces is gone")),
        }
    }

    /// The namespaces that were used.
    pub(crate) async fn namespaces(
        connection: &dyn Connection,
        names: &Names,
    ) -> Result<Vec<Namespace>, StoreError> {
        Self::namespaces_in(connection, names.namespaces()).await
    }

    /// The namespaces in which a claim had a cause.
    pub(crate) async fn namespaces_with_causes(
        connection: &dyn Connection,
        names: &Names,
    ) -> Result<Vec<Namespace>, StoreError> {
        Self::namespaces_in(connection, names.caused()).await
    }

    async fn namespaces_in(connection: &dyn Connection, key: KeyRef) -> Result<Vec<Namespace>, StoreError> {
        let reply = connection.call(Command::new("SMEMBERS", key.to).arg(key.name)).await?.list()?;
        let names = reply.iter().map(|name| name.text().unwrap_or_default());
        names.filter(|name| !name.starts_with(':')).map(|name| Ok(Namespace::new(name)?)).collect()
    }
}

/// What was in doubt before the store was registered again: the servers, and the parts of the store that were gone.
fn doubts(before: Option<StoreMetadata>, servers: &[Server], gone: Vec<String>) -> Option<String> {
    let of_servers = before.and_then(|metadata| metadata.reason_for_doubt(&identities(servers)));
    let doubts: Vec<_> = of_servers.into_iter().chain(gone).collect();
    (!doubts.is_empty()).then(|| doubts.join("; "))
}

fn metadata_vanished() -> StoreError {
    data_loss("the root was gone at once")
}

/// 128 random bits.
fn random() -> String {
    ClaimId::random().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason_for_doubt(class: Class, who: &[&str], doubt: Option<&str>) -> Option<String> {
        let metadata = StoreMetadata {
            store: "store".into(),
            epoch: "epoch".into(),
            registered_at: 1,
            buckets: 1,
            class,
            servers: vec!["one".into(), "two".into()],
            doubt: doubt.map(str::to_owned),
        };
        metadata.reason_for_doubt(&who.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn an_unknown_server_is_doubted_unless_no_server_loses_writes() {
        for class in [Class::EverySecond, Class::Replicated, Class::Lossy] {
            assert_eq!(reason_for_doubt(class, &["one"], None), None);
            assert_eq!(reason_for_doubt(class, &["two", "one"], None), None);
            let unknown = reason_for_doubt(class, &["one", "three"], None).unwrap_or_default();
            assert!(unknown.contains("restarted or promoted"), "{unknown}");
        }
        assert_eq!(reason_for_doubt(Class::Always, &["three"], None), None, "it was only restarted");
    }

    #[test]
    fn a_recorded_doubt_stays() {
        for class in [Class::Always, Class::EverySecond] {
            assert_eq!(
                reason_for_doubt(class, &["one"], Some("it lost a change")).as_deref(),
                Some("it lost a change")
            );
        }
    }
}
