//! What all processes of a run share, and what they cannot see: what really happened.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sentinel_client::Sentinel;
use sentinel_conformance::negative::{FlawedStore, Mutation};
use sentinel_conformance::{Effect, Layered, Recorder, RunLog};
use sentinel_core::{Address, CoordinationStore, Key, Kind, Namespace};
use sentinel_memory::MemoryStore;

use crate::clock::StoreClock;
use crate::network::Network;
use crate::observer::Observer;
use crate::options::Options;
use crate::process::Process;
use crate::rng::Rng;

pub(crate) const NAMESPACE: &str = "simulated";

/// Everything there is in a run.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) clock: Arc<StoreClock>,
    pub(crate) observer: Observer,
    pub(crate) recorder: Recorder,
    pub(crate) truth: Truth,
    /// Whether faults are over.
    faults_over: Arc<AtomicBool>,
    processes: AtomicU32,
}

/// An actor in a process: a caller of `once` and `lease` (`worker.rs`), or an operator (`operator.rs`).
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) world: Arc<World>,
    pub(crate) process: Process,
    pub(crate) sentinel: Sentinel,
    pub(crate) rng: Rng,
}

impl Actor {
    /// Another one in the same process.
    pub(crate) fn beside(&self) -> Self {
        let Self { world, process, sentinel, rng } = self;
        let (world, process, sentinel) = (world.clone(), process.clone(), sentinel.clone());
        Self { world, process, sentinel, rng: rng.fork() }
    }
}

/// What happened outside of the store.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    log: Mutex<RunLog>,
    calls: AtomicU64,
}

impl Truth {
    pub(crate) fn log(&self) -> MutexGuard<'_, RunLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// What the provider did under an idempotency key.
    pub(crate) fn effect_under(&self, idempotency_key: &str) -> Option<Effect> {
        self.log().effect_under(idempotency_key).cloned()
    }
}

impl World {
    pub(crate) fn new(options: Options, broken: Option<&Mutation>) -> Arc<Self> {
        let clock = Arc::new(StoreClock::new());
        let store: Arc<dyn CoordinationStore> = match broken {
            None => Arc::new(MemoryStore::with_clock(clock.clone())),
            Some(mutation) => Arc::new(FlawedStore::on_clock(mutation.clone(), clock.clone())),
        };
        let observer = Observer::new(store);
        let recorder = Recorder::new(Arc::new(Layered(observer.clone())));
        Arc::new(Self {
            options,
            clock,
            observer,
            recorder,
            truth: Truth::default(),
            faults_over: Arc::default(),
            processes: AtomicU32::new(0),
        })
    }

    /// An actor in a process that starts now, with a client of its own.
    pub(crate) fn start_process(self: &Arc<Self>, rng: &Rng) -> Actor {
        let process = Process::new(self.processes.fetch_add(1, Ordering::Relaxed));
        let below = Arc::new(self.recorder.as_caller(process.number));
        let latest = 2 * self.options.hard_ttl;
        let faults = (self.options.faults.clone(), latest);
        let network = Network::new(below, process.clone(), rng.fork(), faults, self.faults_over.clone());
        let sentinel = Sentinel::new(Layered(network)).retry_timeout(self.options.retry_timeout);
        let named =
            sentinel.namespace(NAMESPACE).and_then(|s| s.worker(format!("process {}", process.number)));
        let sentinel = named.unwrap_or_else(|invalid| unreachable!("{invalid}"));
        Actor { world: self.clone(), process, sentinel, rng: rng.fork() }
    }

    /// No more faults.
    pub(crate) fn end_faults(&self) {
        self.faults_over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn faults_are_over(&self) -> bool {
        self.faults_over.load(Ordering::Relaxed)
    }

    /// All addresses of the run.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        let executions = (0..self.options.keys).map(|n| address(Kind::Execution, &execution(n)));
        let leases = (0..self.options.leases).map(|n| address(Kind::Lease, &lease(n)));
        executions.chain(leases).collect()
    }
}

pub(crate) fn execution(n: u64) -> String {
    format!("invoice-{n}")
}

pub(crate) fn lease(n: u64) -> String {
    format!("leader-{n}")
}

pub(crate) fn address(kind: Kind, key: &str) -> Address {
    let namespace = Namespace::new(NAMESPACE).unwrap_or_else(|invalid| unreachable!("{invalid}"));
    Address { namespace, kind, key: self::key(key) }
}

pub(crate) fn key(key: &str) -> Key {
    Key::new(key).unwrap_or_else(|invalid| unreachable!("{invalid}"))
}
