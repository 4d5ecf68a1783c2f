//! One Redis server, or a cluster whose slots move.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use sentinel::record::{Address, ClaimId, Label, Terms};
use sentinel::redis::RedisStore;
use sentinel::store::operation::{Claim, Phase};
use sentinel::store::{ErrorKind, StoreError};
use sentinel::{Key, Namespace};
use sentinel_testbed::redis::Options;
use sentinel_testbed::{self as testbed, Proxy, RedisCluster, until};
use tokio::runtime::{Handle, Runtime};

use crate::checker::Kept;
use crate::open::open;
use crate::plan::Plan;
use crate::workers::{Workers, pass};

use super::{Deployment, network};

/// Few, so that a slot that moves is often one in use.
const BUCKETS: u32 = 4;

/// A server that syncs everything before it answers.
pub(super) struct Single {
    server: testbed::Redis,
    proxy: Proxy,
    runtime: Handle,
    /// Its file was cut.
    cut: bool,
    lost: bool,
}

impl Single {
    pub(super) fn start(runtime: &Runtime) -> Self {
        let server = testbed::Redis::start(Options::default());
        let proxy = Proxy::start(server.port());
        let started = Self { server, proxy, runtime: runtime.handle().clone(), cut: false, lost: false };
        init(&started.runtime, &started.url());
        started
    }

    fn crash(&self, rng: &mut StdRng) -> String {
        if rng.random_ratio(2, 3) {
            self.server.kill();
            self.server.start_again();
            return "the server is killed".into();
        }
        self.server.stop();
        self.server.start_again();
        "the server is restarted".into()
    }

    /// What a power failure does to a disk that lied: the server was killed, and the end of its file is gone.
    fn truncate_file(&mut self, workers: &Workers, rng: &mut StdRng) -> String {
        self.server.kill();
        let bytes = rng.random_range(1..=self.server.append_only_len().clamp(1, 6_000));
        self.server.cut_append_only_file(bytes);
        self.server.start_again();
        self.cut = true;
        self.recover(&workers.plan);
        format!("the server is killed, and {bytes} bytes of its file are lost")
    }

    fn pause(&self, rng: &mut StdRng) -> String {
        let long = Duration::from_millis(rng.random_range(20..=600));
        self.server.pause();
        pass(long);
        self.server.resume();
        format!("the server is stopped for {long:?}")
    }

    fn limit_memory(&self, rng: &mut StdRng) -> String {
        let long = Duration::from_millis(rng.random_range(20..=300));
        self.server.cli(&["CONFIG", "SET", "maxmemory", "1mb"]);
        pass(long);
        self.server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
        format!("the server has no memory for {long:?}")
    }
}

impl Deployment for Single {
    fn url(&self) -> String {
        self.server.url_at(self.proxy.port())
    }

    fn name(&self) -> String {
        "Redis, one server that syncs always".into()
    }

    fn prepare(&mut self, _: &mut StdRng) {
        (self.cut, self.lost) = (false, false);
    }

    fn inject(&mut self, workers: &mut Workers, rng: &mut StdRng) -> String {
        match rng.random_range(0..9) {
            0 | 1 => self.crash(rng),
            2 => self.truncate_file(workers, rng),
            3 => {
                self.server.cli(&["SCRIPT", "FLUSH"]);
                "scripts are flushed".into()
            }
            4 => {
                self.server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
                "all clients are killed".into()
            }
            5 => self.pause(rng),
            6 => self.limit_memory(rng),
            _ => network::inject(&self.proxy, rng),
        }
    }

    /// A worker may have got a reply just before the server was killed, and not have written its witness file yet: the
    /// loss is then detected only now.
    fn recover(&mut self, plan: &Plan) {
        self.lost |= self.cut && init_if_in_doubt(&self.runtime, plan);
    }

    /// A heartbeat lost at the end of the file is not detected.
    fn kept(&self) -> Kept {
        match (self.lost, self.cut) {
            (true, _) => Kept::Tokens,
            (false, true) => Kept::AllButAnyHeartbeats,
            (false, false) => Kept::All,
        }
    }
}

/// Three masters.
pub(super) struct Cluster {
    servers: RedisCluster,
    runtime: Handle,
    /// A master was restarted. Nothing is lost by that, but it cannot be distinguished from a replica that took over.
    restarted: bool,
}

impl Cluster {
    pub(super) fn start(runtime: &Runtime) -> Self {
        let servers = RedisCluster::start(3, Options::default());
        let made = runtime.block_on(RedisStore::builder(&servers.url()).buckets(BUCKETS).init());
        drop(made.unwrap_or_else(|error| panic!("the cluster cannot be initialised: {error}")));
        Self { servers, runtime: runtime.handle().clone(), restarted: false }
    }

    /// A slot that is in use goes to another node.
    fn move_slot(&self, rng: &mut StdRng) -> String {
        let nodes = self.servers.nodes();
        let from = rng.random_range(0..nodes.len());
        let key = nodes[from].cli(&["RANDOMKEY"]);
        if key.is_empty() {
            return "no slot moves, none is in use there".into();
        }
        let slot = self.servers.slot(&key);
        let to = (self.servers.owner(slot) + rng.random_range(1..nodes.len())) % nodes.len();
        let moving = self.servers.begin_move(slot, to);
        pass(Duration::from_millis(rng.random_range(0..=100)));
        moving.move_keys(rng.random_range(1..=20));
        pass(Duration::from_millis(rng.random_range(0..=100)));
        moving.finish();
        format!("slot {slot} moves to node {to}")
    }
}

impl Deployment for Cluster {
    fn url(&self) -> String {
        self.servers.url()
    }

    fn name(&self) -> String {
        "Redis, a cluster of three".into()
    }

    fn prepare(&mut self, _: &mut StdRng) {
        self.restarted = false;
    }

    fn inject(&mut self, workers: &mut Workers, rng: &mut StdRng) -> String {
        let node = &self.servers.nodes()[rng.random_range(0..self.servers.nodes().len())];
        match rng.random_range(0..6) {
            0..3 => self.move_slot(rng),
            3 => {
                node.kill();
                node.start_again();
                self.servers.wait_ok();
                self.restarted = true;
                self.recover(&workers.plan);
                "a master is killed, and initialised again".into()
            }
            4 => {
                node.cli(&["SCRIPT", "FLUSH"]);
                "a master's scripts are flushed".into()
            }
            _ => {
                node.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
                "all clients of a master are killed".into()
            }
        }
    }

    fn recover(&mut self, plan: &Plan) {
        if self.restarted {
            init_if_in_doubt(&self.runtime, plan);
        }
    }
}

/// As an operator does after having checked the server.
pub(super) fn init(runtime: &Handle, url: &str) {
    until("the server can be initialised", || runtime.block_on(RedisStore::init(url)).is_ok());
}

/// Opens a server that may have lost something, as a new process would, and initialises it again if it is in doubt.
/// Whether it was.
pub(super) fn init_if_in_doubt(runtime: &Handle, plan: &Plan) -> bool {
    let mut doubt = false;
    until("the server reports its state", || {
        let opened = runtime.block_on(claim_once(plan));
        doubt = opened.as_ref().is_err_and(|error| {
            matches!(
                error.kind(),
                ErrorKind::PossibleDataLoss | ErrorKind::DataLoss | ErrorKind::NotInitialised
            )
        });
        doubt || opened.is_ok()
    });
    if doubt {
        init(runtime, &plan.url);
    }
    doubt
}

/// Opens the store and claims a lease that no worker uses: a loss within a namespace is detected by a claim in it.
async fn claim_once(plan: &Plan) -> Result<(), StoreError> {
    let store = open(&plan.url, &plan.witness_folder()).await?;
    let lease = Address::lease(Namespace::new(&plan.namespace)?, Key::new("asked")?);
    let claim = Claim {
        claim_id: ClaimId::random(),
        terms: Terms::new(plan.ttl, plan.hard_ttl)?,
        retention: None,
        fingerprint: None,
        worker: Label::new("on call")?,
        phase: Phase::Claimed,
        accepts: sentinel::record::Accepts::any(),
        cause: None,
        about: None,
    };
    store.claim(&lease, &claim).await.map(drop)
}
