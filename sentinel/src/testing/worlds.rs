//! All worlds of a function.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::attempt::Attempt;
use super::fault::{Plan, Visit};
use super::process::{run, runtime};
use super::promises::Expected;
use super::report::report;
use super::reported::{Report, Reported};
use super::world::{End, World};
use crate::store::{Clock as _, StoreTime, SystemClock};

/// Which worlds to run, and what is allowed in them. [`check`](super::check) uses the defaults.
#[must_use = "nothing runs before `check`"]
pub struct Worlds {
    faults: usize,
    at_most: u32,
    only: Option<String>,
    late: Duration,
    limit: usize,
    reconcile: Option<Reconcile>,
}

/// Runs the user's reconciler as the process of this number.
type Reconcile = Box<dyn Fn(&Arc<World>, u32) + Send + Sync>;

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// The number of worlds.
    pub worlds: usize,
    /// The number of points at which a fault can occur in the world without faults.
    pub points: usize,
}

/// The process that starts at once after the first, and the one that starts when all deadlines are over.
const AT_ONCE: u32 = 2;
const LATER: u32 = 3;
/// The reconciler, if there is one.
const RECONCILER: u32 = 4;

impl Default for Worlds {
    fn default() -> Self {
        // Just before the default late effects of `once` are over.
        let late = crate::record::Terms::DEFAULT_LATE_EFFECTS - Duration::from_secs(1);
        Self { faults: 2, at_most: 1, only: None, late, limit: 50_000, reconcile: None }
    }
}

impl fmt::Debug for Worlds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { faults, at_most, only, .. } = self;
        let mut debug = f.debug_struct("Worlds");
        debug.field("faults", faults).field("at_most", at_most).field("only", only).finish_non_exhaustive()
    }
}

/// The return value of a reconciler, whose end is not checked.
struct NotChecked;

impl Report for NotChecked {
    fn reported(&self) -> Reported {
        Reported::NotDone("it only reconciles".to_owned())
    }
}

impl Worlds {
    /// The maximum number of faults in one world. Default 2. Each additional fault makes about twenty times as many
    /// worlds.
    pub fn faults(mut self, faults: usize) -> Self {
        self.faults = faults;
        self
    }

    /// How often an effect may happen. Default 1: one run. Add one for each run that is authorised although the effect
    /// may have happened already. A reset after a probe does not count.
    pub fn at_most(mut self, times: u32) -> Self {
        self.at_most = times;
        self
    }

    /// How long after its request a late effect lands. Default 59 s, one second less than the default `late_effects` of
    /// a call of `once`.
    pub fn effects_land_after(mut self, late: Duration) -> Self {
        self.late = late;
        self
    }

    /// The maximum number of worlds. Default 50,000. The check fails for a function with more: it has too many
    /// requests, effects and marked points for two faults in each world. Then try fewer [`faults`](Self::faults).
    pub fn limit(mut self, worlds: usize) -> Self {
        self.limit = worlds;
        self
    }

    /// Runs only the world with this name, which a report prints.
    pub fn only(mut self, world: impl Into<String>) -> Self {
        self.only = Some(world.into());
        self
    }

    /// Reconciles with code of your own, which is tested with the function: it runs in a process that may crash too,
    /// and once more without faults. Then no key may be uncertain, and the function must be done. Without it, an
    /// operator resets uncertain keys if no effect has happened; other keys stay uncertain.
    pub fn reconciled_by<F, T>(mut self, reconcile: F) -> Self
    where
        F: AsyncFn(Attempt) -> T + Send + Sync + 'static,
    {
        self.reconcile = Some(Box::new(move |world, process| {
            let reconciler = async |attempt| {
                drop(reconcile(attempt).await);
                NotChecked
            };
            run(world, process, &reconciler);
        }));
        self
    }

    /// Runs the function in all worlds: in the one without faults, in one for each single fault, and so on. Everything
    /// runs on a separate thread.
    ///
    /// # Panics
    /// If the function breaks a promise in some world, with a report. Also if it does nothing in the world without
    /// faults, and if [`only`](Self::only) names no world.
    #[track_caller]
    pub fn check<F, A>(&self, function: F) -> Checked
    where
        F: AsyncFn(Attempt) -> A + Sync,
        A: Report,
    {
        let explore = || catch_unwind(AssertUnwindSafe(|| self.explore(&function)));
        // A runtime cannot be started within another.
        let explored = std::thread::scope(|scope| scope.spawn(explore).join());
        match explored.and_then(|result| result) {
            Ok(Ok(checked)) => checked,
            Ok(Err(report)) => panic!("{report}"),
            Err(panic) => resume_unwind(panic),
        }
    }

    fn explore<A: Report>(&self, function: &impl AsyncFn(Attempt) -> A) -> Result<Checked, String> {
        let clean = self.live(Plan::default(), function);
        let due = due(&clean)?;
        self.check_promises(&clean, &due, 1)?;
        let mut next = VecDeque::from(self.after(&clean));
        let points = clean.state().visits.iter().filter(|visit| self.may_fail(visit)).count();
        let mut checked = Checked { worlds: 1, points };
        let mut found = false;
        let mut progress = Progress::new();
        while let Some(plan) = next.pop_front() {
            if checked.worlds == self.limit {
                return Err(self.too_many(checked, next.len() + 1));
            }
            let world = self.live(plan, function);
            checked.worlds += 1;
            progress.show(checked.worlds, next.len());
            let named = self.only.as_ref().is_none_or(|only| *only == world.plan.to_string());
            found |= named;
            if named {
                self.check_promises(&world, &due, checked.worlds)?;
            }
            if world.plan.0.len() < self.faults {
                next.extend(self.after(&world));
            }
        }
        match &self.only {
            Some(only) if !found => Err(format!("no world has the name {only:?}")),
            _ => Ok(checked),
        }
    }

    fn too_many(&self, Checked { worlds, points }: Checked, more: usize) -> String {
        format!(
            "{worlds} worlds are checked without a broken promise, and at least {more} are left: a fault \
            can occur at {points} points. Allow more worlds with Worlds::limit, or use fewer faults in \
            each with Worlds::faults"
        )
    }

    /// The worlds that have one more fault than this one.
    fn after(&self, world: &World) -> Vec<Plan> {
        let mut plans = world.plan.followed_by(&world.state().visits);
        plans.retain(|plan| plan.0.iter().all(|injection| self.may_fail(&injection.visit)));
        if let Some(only) = &self.only {
            plans.retain(|plan| plan.leads_to(only));
        }
        plans
    }

    /// The first process without faults: the last, or the reconciler before it.
    fn clean(&self) -> u32 {
        if self.reconcile.is_some() { RECONCILER + 1 } else { LATER + 1 }
    }

    fn last(&self) -> u32 {
        if self.reconcile.is_some() { self.clean() + 1 } else { self.clean() }
    }

    fn may_fail(&self, visit: &Visit) -> bool {
        visit.process < self.clean()
    }

    /// Runs a world from its start to its end.
    fn live<A: Report>(&self, plan: Plan, function: &impl AsyncFn(Attempt) -> A) -> Arc<World> {
        let world = World::new(plan, self.late);
        let outside = runtime();
        let much_later = async || {
            world.time_passes().await;
            world.deliver_late_copies().await;
        };
        run(&world, 1, function);
        run(&world, AT_ONCE, function);
        outside.block_on(much_later());
        run(&world, LATER, function);
        outside.block_on(much_later());
        match &self.reconcile {
            Some(reconcile) => {
                reconcile(&world, RECONCILER);
                outside.block_on(world.effects_land());
                reconcile(&world, self.clean());
            }
            None => {
                let decided = outside.block_on(world.operator_decides());
                decided.unwrap_or_else(|error| panic!("the operator could not decide: {error}"));
            }
        }
        run(&world, self.last(), function);
        world.all_lands();
        world
    }

    fn check_promises(
        &self,
        world: &World,
        due: &BTreeMap<String, u32>,
        number: usize,
    ) -> Result<(), String> {
        let outside = runtime();
        let expected = Expected {
            due,
            at_most: self.at_most,
            reconciled: self.reconcile.is_some(),
            has_result: outside.block_on(world.has_result()),
        };
        let broken = expected.broken(&world.state());
        broken.map_or(Ok(()), |broken| Err(outside.block_on(report(world, &broken, &world.plan, number))))
    }
}

/// Reports that a long check is still running.
struct Progress {
    shown: StoreTime,
}

impl Progress {
    const PAUSE: Duration = Duration::from_secs(5);

    fn new() -> Self {
        Self { shown: SystemClock.now() }
    }

    fn show(&mut self, worlds: usize, left: usize) {
        let now = SystemClock.now();
        if now.since(self.shown) >= Self::PAUSE {
            self.shown = now;
            eprintln!("sentinel::testing: {worlds} worlds checked, at least {left} left");
        }
    }
}

/// The effects of the world without faults, which every world must reach.
fn due(clean: &World) -> Result<BTreeMap<String, u32>, String> {
    let state = clean.state();
    let first = state.ends.first().map(|ended| &ended.end);
    if first != Some(&End::Reported(Reported::Done)) {
        return Err(format!(
            "in the world without faults, the first process did not report that it is done: {first:?}"
        ));
    }
    if state.effects.is_empty() {
        return Err("in the world without faults, no effect happened, so the check would find nothing; use \
                `Attempt::effects`"
            .to_owned());
    }
    Ok(state.effects.clone())
}
