//! The kinds of deployment, and what each guarantees: the rows of the table in spec §7 that are Redis'.

use crate::data_loss::server::{Class, Server, class};
use crate::durability::Durability;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deployment {
    Replica,
    Lossy,
    Always,
    EverySecond,
    WithReplicas,
    Cluster,
}

impl Deployment {
    pub(super) fn of(servers: &[Server]) -> Self {
        match class(servers) {
            _ if servers.iter().any(|server| !server.is_master()) => Self::Replica,
            Class::Lossy => Self::Lossy,
            Class::Always => Self::Always,
            Class::EverySecond => Self::EverySecond,
            Class::Replicated if servers.iter().any(Server::is_clustered) => Self::Cluster,
            Class::Replicated => Self::WithReplicas,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Replica => "Redis, a replica: use its master",
            Self::Lossy => "Redis, with settings that lose what was acknowledged",
            Self::Always => "Redis standalone, AOF always, noeviction",
            Self::EverySecond => "Redis standalone, AOF everysec, noeviction",
            Self::WithReplicas => "Redis with replicas",
            Self::Cluster => "Redis Cluster",
        }
    }

    pub(super) fn guarantees(self, durability: Durability) -> Vec<String> {
        let once = "At most one execution per key, across all processes that use this server, until an operator \
                    decides otherwise";
        let failover = "A failover may lose begins, results and decisions that were acknowledged last: \
        their keys may run again. A server that is not registered is detected, and refused until \
        `sentinel init`.";
        let texts: &[&str] = match self {
            Self::Replica => &[],
            Self::Lossy => &[
                ": as long as this server runs, and has memory to spare.",
                "A restart, or eviction, may lose all that was acknowledged. An emptied server is \
                detected; single records that are dropped are not: their keys run again without any \
                report.",
            ],
            Self::Always => &[
                ": through kill -9, and through power loss as far as the disk keeps what it has synced.",
                "An acknowledged begin, result or decision does not disappear: it is on the disk before \
                it is acknowledged.",
                "This holds for this one server. A restored backup, or another server in its place, lacks \
                what it had not received.",
            ],
            Self::EverySecond => &[
                // Redis answers before it has written while a sync of what it wrote before takes long.
                ": as long as the server runs, and through an orderly stop.",
                "If it is killed or its host dies, about the last two seconds of begins, results and decisions may be \
                 gone. Any restart is detected, and the store is refused until `sentinel init`.",
            ],
            Self::WithReplicas => &[": as long as this primary stays the primary.", failover],
            Self::Cluster => &[": as long as each master keeps its place, also while slots move.", failover],
        };
        let mut guarantees: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        if let Some(first) = guarantees.first_mut() {
            first.insert_str(0, once);
            guarantees.extend(waits(durability));
            guarantees.push(self.tokens().to_owned());
        }
        guarantees
    }

    fn tokens(self) -> &'static str {
        match self {
            Self::Always | Self::EverySecond | Self::Replica => {
                "Fencing tokens increase strictly for each key, through release, purge, restart and \
                    power loss."
            }
            Self::WithReplicas | Self::Cluster => {
                "Fencing tokens increase strictly for each key, through failover too as long as the hosts' clocks \
                 agree."
            }
            Self::Lossy => {
                "Fencing tokens increase strictly for each key as long as the server's clock does."
            }
        }
    }
}

fn waits(durability: Durability) -> Option<String> {
    let narrows = "before it is acknowledged: a failover loses less, not nothing.";
    match durability {
        Durability::Server => None,
        Durability::Replicas(replicas) => {
            Some(format!("A begin, a result or a decision is with {replicas} replicas {narrows}"))
        }
        Durability::Disk { replicas: 0 } => {
            Some("A begin, a result or a decision is on the server's disk before it is acknowledged.".into())
        }
        Durability::Disk { replicas } => Some(format!(
            "A begin, a result or a decision is on the disks of the server and {replicas} replicas {narrows}"
        )),
    }
}
