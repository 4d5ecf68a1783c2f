//! The callers of one history: how many there are, what they ask for, and all of them at once.

use std::sync::Arc;

use sentinel_core::{Address, CoordinationStore};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::actor::{Actor, Completed};
use super::recorder::Recorder;
use crate::coordination::faults::{FaultPlan, Faulty};
use crate::coordination::harness::Harness;
use crate::rng::Rng;

/// How large histories are, least and most, and which faults and purges they have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) callers: (u64, u64),
    pub(super) records: (u64, u64),
    pub(super) requests: (u64, u64),
    pub(super) faulty: bool,
    pub(super) search: bool,
    /// Whether some continue hours later, while the records are purged.
    pub(super) purges: bool,
    /// Callers are numbered from here.
    pub(super) first_caller: u32,
}

impl Setting {
    pub(super) const LARGE: Self = Self {
        callers: (2, 6),
        records: (1, 3),
        requests: (4, 12),
        faulty: false,
        search: false,
        purges: false,
        first_caller: 0,
    };
}

/// All callers at once, each until it has made its requests; returns the replies.
pub(super) async fn act<H: Harness>(
    harness: &Arc<H>,
    setting: Setting,
    rng: &mut Rng,
    addresses: &[Address],
    recorder: &Recorder,
) -> Result<Vec<Completed>, String> {
    let callers = between(rng, setting.callers);
    let board = Arc::default();
    let start = Arc::new(Barrier::new(callers as usize));
    let mut tasks = JoinSet::new();
    for caller in 0..callers as u32 {
        let below: Arc<dyn CoordinationStore> = Arc::new(recorder.as_caller(setting.first_caller + caller));
        let seed = rng.draw();
        let faulty = setting.faulty.then(|| Arc::new(Faulty::new(below.clone(), FaultPlan::seeded(seed))));
        let store = faulty.clone().map_or(below, |faulty| faulty as Arc<dyn CoordinationStore>);
        let caller = setting.first_caller + caller;
        let actor = Actor::new(caller, store, addresses.to_vec(), Arc::clone(&board), rng.fork(seed));
        let (requests, start, harness) = (between(rng, setting.requests), start.clone(), harness.clone());
        tasks.spawn(async move {
            start.wait().await;
            let completed = actor.run(requests, &*harness).await;
            if let Some(faulty) = faulty {
                faulty.wait_for_late_requests().await;
            }
            completed
        });
    }
    let mut completed = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        completed.extend(ended.map_err(|error| format!("a caller failed: {error}"))??);
    }
    Ok(completed)
}

pub(super) fn between(rng: &mut Rng, (least, most): (u64, u64)) -> u64 {
    least + rng.below(most - least + 1)
}
