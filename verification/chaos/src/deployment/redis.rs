//! One Redis server, or a cluster whose slots move.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use sentinel::operation::{Claim, Phase};
use sentinel::redis::RedisStore;
use sentinel::{Address, ClaimId, ErrorKind, Key, Label, Namespace, StoreError, Terms};
use sentinel_testbed::redis::Options;
use sentinel_testbed::{self as testbed, Proxy, RedisCluster, until};
use tokio::runtime::{Handle, Runtime};

use crate::crew::{Crew, pass};
use crate::plan::Plan;
use crate::reach::open;
use crate::verdict::Kept;

use super::{Deployment, network};

/// Few, so that what a schedule uses is often on its way.
const BUCKETS: u32 = 4;

/// A server that syncs everything before it answers.
pub(super) struct Single {
    server: testbed::Redis,
    way: Proxy,
    runtime: Handle,
    /// Its file was cut.
    cut: bool,
    lost: bool,
}

impl Single {
    pub(super) fn start(runtime: &Runtime) -> Self {
        let server = testbed::Redis::start(Options::default());
        let way = Proxy::start(server.port());
        let started = Self { server, way, runtime: runtime.handle().clone(), cut: false, lost: false };
        arm(&started.runtime, &started.url());
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
    fn lose(&mut self, crew: &Crew, rng: &mut StdRng) -> String {
        self.server.kill();
        let bytes = rng.random_range(1..=self.server.append_only_len().clamp(1, 6_000));
        self.server.cut_append_only_file(bytes);
        self.server.start_again();
        self.cut = true;
        self.look(&crew.plan);
        format!("the server is killed, and {bytes} bytes of its file are lost")
    }

    fn stand_still(&self, rng: &mut StdRng) -> String {
        let long = Duration::from_millis(rng.random_range(20..=600));
        self.server.pause();
        pass(long);
        self.server.resume();
        format!("the server stands still for {long:?}")
    }

    fn starve(&self, rng: &mut StdRng) -> String {
        let long = Duration::from_millis(rng.random_range(20..=300));
        self.server.cli(&["CONFIG", "SET", "maxmemory", "1mb"]);
        pass(long);
        self.server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
        format!("the server has no memory for {long:?}")
    }
}

impl Deployment for Single {
    fn url(&self) -> String {
        self.server.url_at(self.way.port())
    }

    fn name(&self) -> String {
        "Redis, one server that syncs always".into()
    }

    fn prepare(&mut self, _: &mut StdRng) {
        (self.cut, self.lost) = (false, false);
    }

    fn strike(&mut self, crew: &mut Crew, rng: &mut StdRng) -> String {
        match rng.random_range(0..9) {
            0 | 1 => self.crash(rng),
            2 => self.lose(crew, rng),
            3 => {
                self.server.cli(&["SCRIPT", "FLUSH"]);
                "scripts are flushed".into()
            }
            4 => {
                self.server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
                "all clients are killed".into()
            }
            5 => self.stand_still(rng),
            6 => self.starve(rng),
            _ => network::strike(&self.way, rng),
        }
    }

    /// An answer that was on its way when the server was killed is known to a worker that has not left its note yet: it tells
    /// later.
    fn look(&mut self, plan: &Plan) {
        self.lost |= self.cut && re_arm(&self.runtime, plan);
    }

    /// A heartbeat that is gone with the end of the file is told to nobody.
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
    /// A master was restarted. Nothing is lost by that, and nobody can tell it from a replica that took over.
    restarted: bool,
}

impl Cluster {
    pub(super) fn start(runtime: &Runtime) -> Self {
        let servers = RedisCluster::start(3, Options::default());
        let armed = runtime.block_on(RedisStore::builder(&servers.url()).buckets(BUCKETS).init());
        drop(armed.unwrap_or_else(|error| panic!("the cluster cannot be armed: {error}")));
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

    fn strike(&mut self, crew: &mut Crew, rng: &mut StdRng) -> String {
        let node = &self.servers.nodes()[rng.random_range(0..self.servers.nodes().len())];
        match rng.random_range(0..6) {
            0..3 => self.move_slot(rng),
            3 => {
                node.kill();
                node.start_again();
                self.servers.wait_ok();
                self.restarted = true;
                self.look(&crew.plan);
                "a master is killed, and somebody looks".into()
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

    fn look(&mut self, plan: &Plan) {
        if self.restarted {
            re_arm(&self.runtime, plan);
        }
    }
}

/// Somebody has looked: from now on the server is trusted.
pub(super) fn arm(runtime: &Handle, url: &str) {
    until("the server can be armed", || runtime.block_on(RedisStore::init(url)).is_ok());
}

/// Asks a server that may have lost something what it says, as somebody who comes anew, and arms it if it is in doubt.
/// Whether it was.
pub(super) fn re_arm(runtime: &Handle, plan: &Plan) -> bool {
    let mut doubt = false;
    until("the server says what it is", || {
        let told = runtime.block_on(ask(plan));
        doubt = told.as_ref().is_err_and(|error| {
            matches!(
                error.kind(),
                ErrorKind::PossibleDataLoss | ErrorKind::DataLoss | ErrorKind::NotInitialised
            )
        });
        doubt || told.is_ok()
    });
    if doubt {
        arm(runtime, &plan.url);
    }
    doubt
}

/// Opens the store and claims a lease that nobody else uses: what a namespace has lost is told to whoever claims there.
async fn ask(plan: &Plan) -> Result<(), StoreError> {
    let store = open(&plan.url, &plan.notes()).await?;
    let lease = Address::lease(Namespace::new(&plan.namespace)?, Key::new("asked")?);
    let claim = Claim {
        claim_id: ClaimId::random(),
        terms: Terms::new(plan.ttl, plan.hard_ttl)?,
        retention: None,
        fingerprint: None,
        worker: Label::new("on call")?,
        phase: Phase::Claimed,
        accepts: sentinel::Accepts::any(),
    };
    store.claim(&lease, &claim).await.map(drop)
}
