//! What is known of the whole store: a hash in a slot of its own, written by `init`.

use std::collections::HashMap;

use bytes::Bytes;
use sentinel_core::{ClaimId, ErrorKind, Namespace, StoreError};

use super::Arming;
use super::bare::{self, SET};
use super::server::{Class, Server, class, identities};
use crate::names::Names;
use crate::wire::{Answer, Command, Wire, odd};

const FORMAT: &str = "1";

/// The root, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Root {
    /// Tells this store from one that was set up after the server was emptied.
    pub(crate) store: String,
    /// Changes with each arming: scripts of another epoch are not known.
    pub(crate) epoch: String,
    /// When somebody armed it last, in microseconds of the server's clock, and later than ever before.
    pub(crate) armed_at: u64,
    /// How many buckets a namespace has, for ever.
    pub(crate) buckets: u32,
    /// The weakest that the deployment was since it was armed.
    pub(crate) class: Class,
    /// The servers that are trusted to hold what was written.
    pub(crate) servers: Vec<String>,
    /// Why somebody doubts that they do.
    pub(crate) doubt: Option<String>,
}

impl Root {
    /// None: it is not there.
    pub(crate) async fn read(wire: &dyn Wire, names: &Names) -> Result<Option<Self>, StoreError> {
        let found = Self::found(wire, names).await?;
        // The epoch comes last: without one, somebody is setting it up.
        Ok(found.filter(|root| !root.epoch.is_empty()))
    }

    async fn found(wire: &dyn Wire, names: &Names) -> Result<Option<Self>, StoreError> {
        let mut fields = Self::fields(wire, names).await?;
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
            return Err(StoreError::not_applied(ErrorKind::Corrupt, "the root tells no number of buckets"));
        }
        let servers = take("servers").split(' ').filter(|one| !one.is_empty()).map(str::to_owned).collect();
        Ok(Some(Self {
            store: take("store"),
            epoch: take("epoch"),
            armed_at: Self::armed_at(wire, names).await?,
            buckets,
            class: Class::of(&take("class")),
            servers,
            doubt: Some(take("doubt")).filter(|doubt| !doubt.is_empty()),
        }))
    }

    async fn fields(wire: &dyn Wire, names: &Names) -> Result<HashMap<String, String>, StoreError> {
        let place = names.root();
        let answer = wire.call(Command::new("HGETALL", place.to).arg(place.name)).await?;
        let text = |answer: &Answer| answer.text().map(str::to_owned).ok_or_else(|| odd(answer));
        let pairs = answer.list()?;
        pairs.chunks_exact(2).map(|pair| Ok((text(&pair[0])?, text(&pair[1])?))).collect()
    }

    /// Creates the root, or trusts the present servers anew and forgets the doubt. Several at once are fine: the store's id
    /// and number of buckets are the first one's.
    pub(crate) async fn arm(
        wire: &dyn Wire,
        names: &Names,
        servers: &[Server],
        buckets: Option<u32>,
    ) -> Result<(Self, Arming), StoreError> {
        let before = Self::read(wire, names).await?;
        let place = names.root();
        let root = || Command::new("HSETNX", place.to.clone()).arg(place.name.clone());
        wire.call(root().word("format").word(FORMAT)).await?;
        let usual = if servers.iter().any(Server::is_clustered) { 16 } else { 1 };
        wire.call(root().word("buckets").number(buckets.unwrap_or(usual))).await?;
        let first = wire.call(root().word("store").arg(random())).await?.number()? == 1;
        let found = Self::found(wire, names).await?.ok_or_else(gone_at_once)?;
        // Whoever finds the servers trusted goes on at once: each bucket, and the list of them, is ready before.
        let mut gone = Vec::new();
        for namespace in Self::namespaces(wire, names).await? {
            // A namespace is listed after all its buckets have their markers.
            match found.mark(wire, names, &namespace).await? {
                0 => {}
                lost => {
                    let parts = format!("{lost} of {} parts of namespace {namespace}", found.buckets);
                    gone.push(format!("what was in {parts} is gone"));
                }
            }
        }
        let list = names.namespaces();
        let list = Command::new("SADD", list.to).arg(list.name).arg(found.own());
        if wire.call(list).await?.number()? == 1 && before.is_some() {
            gone.push("the list of its namespaces was gone".into());
        }
        let arming = match first {
            true => Arming::SetUp,
            false => Arming::Again { doubt: doubts(before, servers, gone) },
        };
        Self::trust(wire, names, class(servers), &identities(servers)).await?;
        let before = Self::armed_at(wire, names).await?;
        let now = wire.call(Command::new("TIME", place.to.clone())).await?.micros()?;
        let armed = Command::new("ZADD", names.armed().to).arg(names.armed().name).word("GT");
        wire.call(armed.number(now.max(before + 1)).word("at")).await?;
        wire.call(Command::new("HDEL", place.to.clone()).arg(place.name.clone()).word("doubt")).await?;
        let root = Self::read(wire, names).await?.ok_or_else(gone_at_once)?;
        Ok((root, arming))
    }

    /// Why an operator had to look before these servers are trusted.
    fn doubted(self, who: &[String]) -> Option<String> {
        let strange = !who.iter().all(|one| self.servers.contains(one)) && self.class != Class::Always;
        self.doubt.or_else(|| strange.then(|| "it was restarted or promoted".to_owned()))
    }

    /// What stands among the names of the namespaces since the store was armed, and is none of them.
    fn own(&self) -> Bytes {
        Bytes::from(format!(":{}", self.store))
    }

    async fn armed_at(wire: &dyn Wire, names: &Names) -> Result<u64, StoreError> {
        let place = names.armed();
        let score = wire.call(Command::new("ZSCORE", place.to).arg(place.name).word("at")).await?;
        // Exact: it is below 2^53.
        Ok(score.text().and_then(|score| score.parse::<f64>().ok()).map_or(0, |score| score as u64))
    }

    /// Trusts servers, in a new epoch.
    pub(crate) async fn trust(
        wire: &dyn Wire,
        names: &Names,
        class: Class,
        servers: &[String],
    ) -> Result<(), StoreError> {
        let (class, servers) = (class.to_string(), servers.join(" "));
        Self::set(wire, names, [("epoch", random()), ("class", class), ("servers", servers)]).await
    }

    /// Tells everybody of a doubt.
    pub(crate) async fn doubt(wire: &dyn Wire, names: &Names, why: &str) -> Result<(), StoreError> {
        Self::set(wire, names, [("doubt", why.to_owned())]).await
    }

    /// The deployment has become weaker than it was.
    pub(crate) async fn weaken(wire: &dyn Wire, names: &Names, class: Class) -> Result<(), StoreError> {
        Self::set(wire, names, [("class", class.to_string())]).await
    }

    /// Sets fields so that a server keeps them, and what is written after them, whatever it finds in its file.
    async fn set<const N: usize>(
        wire: &dyn Wire,
        names: &Names,
        fields: [(&'static str, String); N],
    ) -> Result<(), StoreError> {
        let place = names.root();
        let args = fields.into_iter().flat_map(|(name, value)| [name.into(), value.into()]).collect();
        bare::run(wire, SET, place.to, vec![place.name], args).await.map(drop)
    }

    /// Makes a namespace ready, before its first use: the markers of all its buckets, and only then its name.
    pub(crate) async fn prepare(
        &self,
        wire: &dyn Wire,
        names: &Names,
        namespace: &Namespace,
    ) -> Result<(), StoreError> {
        if self.has(wire, names, namespace).await? {
            return Ok(());
        }
        self.mark(wire, names, namespace).await?;
        let (place, name) = (names.namespaces(), namespace.as_str().to_owned());
        wire.call(Command::new("SADD", place.to).arg(place.name).arg(name)).await?;
        Ok(())
    }

    /// Whether a namespace is ready. A list that is gone names none: what was marked once more would be taken for one that
    /// holds nothing.
    pub(crate) async fn has(
        &self,
        wire: &dyn Wire,
        names: &Names,
        namespace: &Namespace,
    ) -> Result<bool, StoreError> {
        let place = names.namespaces();
        let has = |name: Bytes| {
            let has = Command::new("SISMEMBER", place.to.clone()).arg(place.name.clone());
            wire.call(has.arg(name))
        };
        if has(Bytes::from(namespace.as_str().to_owned())).await?.number()? == 1 {
            return Ok(true);
        }
        match has(self.own()).await?.number()? {
            1 => Ok(false),
            _ => Err(super::amnesia("the list of its namespaces is gone")),
        }
    }

    /// The namespaces that were used.
    pub(crate) async fn namespaces(wire: &dyn Wire, names: &Names) -> Result<Vec<Namespace>, StoreError> {
        let place = names.namespaces();
        let answer = wire.call(Command::new("SMEMBERS", place.to).arg(place.name)).await?.list()?;
        let names = answer.iter().map(|name| name.text().unwrap_or_default());
        names.filter(|name| !name.starts_with(':')).map(|name| Ok(Namespace::new(name)?)).collect()
    }
}

/// What was in doubt before the store was armed again: the servers, and the parts of the store that were gone.
fn doubts(before: Option<Root>, servers: &[Server], gone: Vec<String>) -> Option<String> {
    let of_servers = before.and_then(|root| root.doubted(&identities(servers)));
    let doubts: Vec<_> = of_servers.into_iter().chain(gone).collect();
    (!doubts.is_empty()).then(|| doubts.join("; "))
}

fn gone_at_once() -> StoreError {
    super::amnesia("the root was gone at once")
}

/// 128 random bits.
fn random() -> String {
    ClaimId::random().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubted(class: Class, who: &[&str], doubt: Option<&str>) -> Option<String> {
        let root = Root {
            store: "store".into(),
            epoch: "epoch".into(),
            armed_at: 1,
            buckets: 1,
            class,
            servers: vec!["one".into(), "two".into()],
            doubt: doubt.map(str::to_owned),
        };
        root.doubted(&who.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_strange_server_is_doubted_unless_none_loses_anything() {
        for class in [Class::EverySecond, Class::Replicated, Class::Lossy] {
            assert_eq!(doubted(class, &["one"], None), None);
            assert_eq!(doubted(class, &["two", "one"], None), None);
            let strange = doubted(class, &["one", "three"], None).unwrap_or_default();
            assert!(strange.contains("restarted or promoted"), "{strange}");
        }
        assert_eq!(doubted(Class::Always, &["three"], None), None, "it was only restarted");
    }

    #[test]
    fn what_was_doubted_before_stays_doubted() {
        for class in [Class::Always, Class::EverySecond] {
            assert_eq!(
                doubted(class, &["one"], Some("it lost a change")).as_deref(),
                Some("it lost a change")
            );
        }
    }
}
