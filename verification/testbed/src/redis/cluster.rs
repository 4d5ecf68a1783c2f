//! Clusters: several servers, each with a share of the slots.

use crate::process::until;

use super::options::Kind;
use super::{Options, Redis};

/// How many slots there are.
pub(super) const SLOTS: usize = 16_384;

/// A Redis cluster of masters, each with about the same share of the slots, and no replicas: while a node is down, so
/// is the cluster, unless `cluster-require-full-coverage` is `no`. Dropping it stops all of it.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts a cluster of this many masters, and waits until each node reports it as healthy.
    #[track_caller]
    pub fn start(masters: usize, options: Options) -> Self {
        let mut nodes: Vec<Redis> = vec![];
        for _ in 0..masters {
            let mut options = options.clone().kind(Kind::Node);
            if let (true, Some(first)) = (options.tls, nodes.first()) {
                options = options.tls_like(first.folder());
            }
            nodes.push(Redis::start(options));
        }
        let cluster = Self { nodes };
        cluster.assign();
        cluster.introduce();
        cluster.wait_ok();
        cluster
    }

    fn assign(&self) {
        for (at, node) in self.nodes.iter().enumerate() {
            let (first, next) = (SLOTS * at / self.nodes.len(), SLOTS * (at + 1) / self.nodes.len());
            node.cli(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(next - 1).to_string()]);
            // Different from the start: two nodes of one epoch would have to agree which one takes another.
            node.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
        }
    }

    fn introduce(&self) {
        let Some((first, others)) = self.nodes.split_first() else { panic!("a cluster of no nodes") };
        for node in others {
            let bus = node.cli(&["CONFIG", "GET", "cluster-port"]);
            let bus = bus.lines().nth(1).unwrap_or_default();
            first.cli(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string(), bus]);
        }
    }

    /// Waits until each node reports a healthy cluster, as after one of them was started again.
    #[track_caller]
    pub fn wait_ok(&self) {
        until("the cluster is healthy", || self.nodes.iter().all(|node| self.is_healthy(node)));
    }

    /// Whether a node knows all others, and an owner of each slot.
    fn is_healthy(&self, node: &Redis) -> bool {
        let report = |what| node.try_cli(&["CLUSTER", what]).unwrap_or_default();
        let (info, nodes) = (report("INFO"), report("NODES"));
        let has = |field: &str| info.lines().any(|line| line.trim_end() == field);
        let in_doubt = ["handshake", "fail", "noaddr", "disconnected"];
        has("cluster_state:ok")
            && has(&format!("cluster_slots_ok:{SLOTS}"))
            && nodes.lines().count() == self.nodes.len()
            && !in_doubt.iter().any(|flag| nodes.contains(flag))
    }

    /// The URL of the user `default`, by way of any node:
    /// `redis-cluster://127.0.0.1:7000?node=127.0.0.1:7001&node=127.0.0.1:7002`.
    pub fn url(&self) -> String {
        let mut nodes = self.nodes.iter();
        let first = nodes.next().map(Redis::url).unwrap_or_default();
        let others: Vec<String> = nodes.map(|node| format!("node=127.0.0.1:{}", node.port())).collect();
        let url = first.replacen("://", "-cluster://", 1);
        if others.is_empty() { url } else { format!("{url}?{}", others.join("&")) }
    }

    /// Its nodes. What can happen to a server can happen to each of them.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The slot of a key.
    #[track_caller]
    pub fn slot(&self, key: &str) -> u16 {
        let slot = self.nodes[0].send(&[b"CLUSTER", b"KEYSLOT", key.as_bytes()]).text();
        slot.parse().unwrap_or_else(|_| panic!("the slot of {key} is {slot:?}"))
    }
}
