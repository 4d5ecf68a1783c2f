//! What a server reports about itself: its identity, and what it can guarantee.

use std::collections::HashMap;
use std::fmt;

use sentinel_core::{ErrorKind, StoreError};

use crate::connection::{Command, Connection, Reply, unexpected_reply};
use crate::durability::Durability;
use crate::error::CommandError;
use crate::schema::To;

/// A master, as it reported itself.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// Its address, where there are several.
    pub(crate) address: Option<String>,
    info: HashMap<String, String>,
    /// None: the server does not allow CONFIG.
    pub(crate) appendfsync: Option<String>,
}

/// A replica, as its master reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replica {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `online`, or what it waits for.
    pub(crate) state: String,
}

impl Replica {
    /// `ip=127.0.0.1,port=7001,state=online,offset=14,lag=0`.
    fn read(text: &str) -> Option<Self> {
        let fields: HashMap<_, _> = text.split(',').filter_map(|field| field.split_once('=')).collect();
        let field = |name: &str| fields.get(name).map(|value| (*value).to_owned());
        Some(Self { host: field("ip")?, port: field("port")?.parse().ok()?, state: field("state")? })
    }
}

/// How much of what was acknowledged a deployment can lose, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// One server, and each write on disk before it is answered.
    Always,
    /// One server, whose newest second or two may be lost.
    EverySecond,
    /// Another server may take over without the newest writes.
    Replicated,
    /// It keeps nothing through a restart, or evicts records.
    Lossy,
}

impl Class {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::EverySecond => "everysec",
            Self::Replicated => "replicated",
            Self::Lossy => "lossy",
        }
    }

    pub(crate) fn of(text: &str) -> Self {
        let all = [Self::Always, Self::EverySecond, Self::Replicated];
        all.into_iter().find(|class| class.as_str() == text).unwrap_or(Self::Lossy)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Server {
    /// Reads the identity and settings of a server.
    pub(crate) async fn ask(connection: &dyn Connection, node: To) -> Result<Self, StoreError> {
        let address = if let To::Node(address) = &node { Some(address.clone()) } else { None };
        let reply = connection.call(Command::new("INFO", node.clone())).await?;
        let text = reply.text().ok_or_else(|| unexpected_reply(&reply))?;
        let line =
            |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        let info: HashMap<_, _> = text.lines().filter_map(line).collect();
        let config = Command::new("CONFIG", node).word("GET").word("appendfsync");
        let appendfsync = match connection.call(config).await {
            Ok(Reply::List(pair)) => pair.get(1).and_then(Reply::text).map(str::to_owned),
            Ok(_) | Err(CommandError::Refused(_)) => None,
            Err(failure) => return Err(failure.into()),
        };
        Ok(Self { address, info, appendfsync })
    }

    /// Asks all masters.
    pub(crate) async fn ask_all(connection: &dyn Connection) -> Result<Vec<Self>, StoreError> {
        let asked = connection.masters().into_iter().map(|node| Self::ask(connection, node));
        let servers = futures_util::future::try_join_all(asked).await?;
        match servers.is_empty() {
            true => Err(StoreError::not_applied(ErrorKind::Unreachable, "the cluster reports no master")),
            false => Ok(servers),
        }
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.info.get(name).map_or("", String::as_str)
    }

    /// Which server this is, since when it runs, and in which history of a replicated data set: a restart changes the
    /// first, a promotion the second.
    pub(crate) fn identity(&self) -> String {
        format!("{}:{}", self.field("run_id"), self.field("master_replid"))
    }

    pub(crate) fn is_clustered(&self) -> bool {
        self.field("cluster_enabled") == "1"
    }

    pub(crate) fn is_master(&self) -> bool {
        self.field("role") == "master"
    }

    pub(crate) fn replicas(&self) -> u32 {
        self.field("connected_slaves").parse().unwrap_or_default()
    }

    /// Host and port of each replica that is connected to it, as it sees them, and whether it is in step.
    pub(crate) fn each_replica(&self) -> impl Iterator<Item = Replica> {
        (0..self.replicas()).filter_map(|n| Replica::read(self.field(&format!("slave{n}"))))
    }

    /// The version in two numbers.
    pub(crate) fn version(&self) -> (u32, u32) {
        let mut numbers =
            self.field("redis_version").split('.').map(|number| number.parse().unwrap_or_default());
        (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
    }

    pub(crate) fn evicts(&self) -> bool {
        self.field("maxmemory_policy") != "noeviction"
    }

    pub(crate) fn appends(&self) -> bool {
        self.field("aof_enabled") == "1"
    }

    pub(crate) fn class(&self) -> Class {
        match self.appendfsync.as_deref() {
            _ if !self.appends() || self.evicts() => Class::Lossy,
            Some("no") => Class::Lossy,
            _ if self.is_clustered() || self.replicas() > 0 || !self.is_master() => Class::Replicated,
            Some("always") => Class::Always,
            _ => Class::EverySecond,
        }
    }

    /// Why this server is not used; None: it may be.
    pub(crate) fn refused(&self) -> Option<String> {
        let replica = || (!self.is_master()).then(|| "it is a replica, which cannot be written to".into());
        self.too_old().or_else(replica)
    }

    /// Why its release is not used; None: it may be.
    pub(crate) fn too_old(&self) -> Option<String> {
        let version = self.field("redis_version");
        (self.version() < OLDEST).then(|| format!("Redis {version} is older than {}.{}", OLDEST.0, OLDEST.1))
    }

    /// Why this server cannot wait as it would have to; None: it can.
    pub(crate) fn cannot_wait(&self, durability: Durability) -> Option<String> {
        match durability {
            Durability::Server | Durability::Replicas(_) => None,
            Durability::Disk { .. } if self.version() < WAITAOF => Some(format!(
                "a durability of disk needs Redis {}.{} or newer, this is {}; set appendfsync always instead",
                WAITAOF.0,
                WAITAOF.1,
                self.field("redis_version")
            )),
            Durability::Disk { .. } if !self.appends() => {
                Some("a durability of disk needs an append-only file; set appendonly yes".into())
            }
            Durability::Disk { .. } => None,
        }
    }

    /// Why this server is used only by those who allow losses; None: it keeps what it acknowledged.
    pub(crate) fn lossy(&self) -> Option<String> {
        match self {
            _ if self.evicts() => {
                let policy = self.field("maxmemory_policy");
                Some(format!(
                    "maxmemory-policy is {policy}: it drops records when memory is short; set noeviction"
                ))
            }
            _ if !self.appends() => {
                let advice = "appendonly is no: a restart loses everything, and keys would run again; set \
                appendonly yes";
                Some(advice.into())
            }
            _ if self.appendfsync.as_deref() == Some("no") => {
                Some("appendfsync is no: a crash loses what it acknowledged; set everysec or always".into())
            }
            _ => None,
        }
    }
}

/// What the scripts need: effects are replicated, and several sections of INFO come at once.
pub(crate) const OLDEST: (u32, u32) = (7, 0);

/// What can wait for the disk.
const WAITAOF: (u32, u32) = (7, 2);

/// The weakest of them.
pub(crate) fn class(servers: &[Server]) -> Class {
    servers.iter().map(Server::class).max().unwrap_or(Class::Lossy)
}

/// The identities of all servers, sorted.
pub(crate) fn identities(servers: &[Server]) -> Vec<String> {
    let mut identities: Vec<String> = servers.iter().map(Server::identity).collect();
    identities.sort();
    identities
}

#[cfg(test)]
impl Server {
    /// One that reports these fields, and does not allow CONFIG.
    pub(crate) fn reporting(fields: &[(&str, &str)]) -> Self {
        let info = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { address: None, info: info.collect(), appendfsync: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(version: &str, appends: &str) -> Server {
        Server::reporting(&[("redis_version", version), ("aof_enabled", appends)])
    }

    #[test]
    fn an_old_server_and_a_replica_are_refused_with_the_reason() {
        let report = |version, role| {
            Server::reporting(&[("redis_version", version), ("role", role)]).refused().unwrap_or_default()
        };
        assert!(
            report("6.2.14", "master").contains("6.2.14 is older than 7.0"),
            "{}",
            report("6.2.14", "master")
        );
        for version in ["7.0.0", "7.2.1", "10.0"] {
            assert_eq!(report(version, "master"), "");
        }
        assert!(report("7.2.1", "slave").contains("a replica"));
    }

    #[test]
    fn the_replicas_of_a_master_are_read_from_its_info() {
        let report = |fields: &[(&str, &str)]| Server::reporting(fields).each_replica().collect::<Vec<_>>();
        let replica = |host: &str, state: &str| Replica { host: host.into(), port: 7, state: state.into() };
        let both = [
            ("connected_slaves", "2"),
            ("slave0", "ip=10.0.0.1,port=7,state=online,offset=14,lag=0"),
            ("slave1", "ip=::1,port=7,state=wait_bgsave,offset=0,lag=0,type=main"),
        ];
        assert_eq!(report(&both), [replica("10.0.0.1", "online"), replica("::1", "wait_bgsave")]);
        assert_eq!(report(&both[1..]), []);
        assert_eq!(report(&[("connected_slaves", "1"), ("slave0", "port=x")]), []);
    }

    #[test]
    fn a_class_is_the_most_that_can_be_lost() {
        let class = |fields: &[(&str, &str)], fsync: &str| {
            Server { appendfsync: Some(fsync.into()), ..Server::reporting(fields) }.class()
        };
        let alone = [("aof_enabled", "1"), ("maxmemory_policy", "noeviction"), ("role", "master")];
        let with = |name: &'static str, value: &'static str| {
            let mut fields: Vec<_> = alone.into_iter().filter(|(known, _)| *known != name).collect();
            fields.push((name, value));
            fields
        };
        assert_eq!(class(&alone, "always"), Class::Always);
        assert_eq!(class(&alone, "everysec"), Class::EverySecond);
        assert_eq!(class(&alone, "no"), Class::Lossy);
        assert_eq!(Server::reporting(&alone).class(), Class::EverySecond, "it does not let us ask");
        for (name, value, expected) in [
            ("aof_enabled", "0", Class::Lossy),
            ("maxmemory_policy", "allkeys-lru", Class::Lossy),
            ("connected_slaves", "1", Class::Replicated),
            ("cluster_enabled", "1", Class::Replicated),
            ("role", "slave", Class::Replicated),
        ] {
            assert_eq!(class(&with(name, value), "always"), expected, "{name} {value}");
        }
        assert!(
            Class::Always < Class::EverySecond
                && Class::EverySecond < Class::Replicated
                && Class::Replicated < Class::Lossy
        );
        for class in [Class::Always, Class::EverySecond, Class::Replicated, Class::Lossy] {
            assert_eq!(Class::of(class.as_str()), class);
        }
        assert_eq!(Class::of("something new"), Class::Lossy);
    }

    #[test]
    fn disk_durability_needs_a_server_that_supports_it() {
        let disk = Durability::Disk { replicas: 1 };
        let refusal = server("7.0.15", "1").cannot_wait(disk).unwrap_or_default();
        assert!(refusal.contains("needs Redis 7.2") && refusal.contains("7.0.15"), "{refusal}");
        let refusal = server("8.0.1", "0").cannot_wait(disk).unwrap_or_default();
        assert!(refusal.contains("appendonly yes"), "{refusal}");
        for version in ["7.2.0", "7.4.1", "8.0.0", "10.1"] {
            assert_eq!(server(version, "1").cannot_wait(disk), None, "{version}");
        }
        for durability in [Durability::Server, Durability::Replicas(1)] {
            assert_eq!(server("7.0.0", "0").cannot_wait(durability), None);
        }
    }
}
