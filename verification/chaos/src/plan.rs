//! What one seed makes of a schedule.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use crate::mutation::Mutation;

/// What a worker process is given, as one argument of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) number: u32,
    pub(crate) seed: u64,
    pub(crate) url: String,
    pub(crate) namespace: String,
    /// Where journals and effects are written.
    pub(crate) folder: PathBuf,
    pub(crate) callers: u32,
    pub(crate) keys: u64,
    pub(crate) leases: u64,
    pub(crate) ttl: Duration,
    pub(crate) hard_ttl: Duration,
    /// How long a request whose reply was lost is sent again.
    pub(crate) retry_timeout: Duration,
    /// What is wrong with this worker on purpose.
    pub(crate) mutation: Option<Mutation>,
}

/// How large a schedule is.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) workers: u32,
    /// How many things go wrong, one after the other.
    pub(crate) faults: u32,
}

impl Schedule {
    pub(crate) fn draw(rng: &mut StdRng) -> Self {
        Self { workers: rng.random_range(2..=4), faults: rng.random_range(2..=4) }
    }
}

impl Plan {
    /// What the workers of a schedule have in common.
    pub(crate) fn draw(seed: u64, url: String, folder: PathBuf, rng: &mut StdRng) -> Self {
        let ttl = Duration::from_millis(rng.random_range(150..=600));
        Self {
            number: 0,
            seed,
            url,
            namespace: format!("chaos-{seed}-{}", std::process::id()),
            folder,
            callers: rng.random_range(2..=4),
            keys: 25,
            leases: 2,
            ttl,
            hard_ttl: ttl * rng.random_range(1..=4),
            retry_timeout: Duration::from_millis(rng.random_range(100..=2_000)),
            mutation: None,
        }
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.join(format!("worker-{}.jsonl", self.number))
    }

    /// Where processes keep the last acknowledged change, for each other.
    pub(crate) fn witness_folder(&self) -> PathBuf {
        self.folder.join("notes")
    }

    /// The provider's records: all side effects, of all workers, in the order in which they happened.
    pub(crate) fn effects(&self) -> PathBuf {
        self.folder.join("effects.jsonl")
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { callers, keys, leases, ttl, hard_ttl, retry_timeout, .. } = self;
        write!(
            f,
            "{callers} callers in each worker, {keys} keys, {leases} leases, ttl {ttl:?}, hard ttl {hard_ttl:?}, retry \
             timeout {retry_timeout:?}"
        )
    }
}
