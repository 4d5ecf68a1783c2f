//! A process of a world: a runtime and a client of its own. It may crash at any point.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::attempt::Attempt;
use super::gate::Gate;
use super::reported::{Report, Reported};
use super::world::{End, Ended, World};
use crate::Sentinel;
use crate::store::Layered;

/// A process that has not ended after this time, by its own clock, is counted as hung.
const HUNG_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A runtime with a paused clock.
pub(super) fn runtime() -> Runtime {
    let built = Builder::new_current_thread().enable_all().start_paused(true).build();
    built.unwrap_or_else(|error| panic!("no runtime could be built: {error}"))
}

/// Runs a function as a process until it ends, crashes or hangs. The world records how it ended.
pub(super) fn run<A: Report>(world: &Arc<World>, number: u32, function: &impl AsyncFn(Attempt) -> A) -> End {
    let runtime = runtime();
    let lived = catch_unwind(AssertUnwindSafe(|| runtime.block_on(live(world, number, function))));
    let end = lived.unwrap_or_else(|panic| End::Panicked(text(panic.as_ref())));
    let line = match &end {
        End::Reported(Reported::Done) => Some("reports that it is done".to_owned()),
        End::Reported(Reported::NotDone(why)) => Some(format!("reports that it is not done: {why}")),
        End::Panicked(text) => Some(format!("panics: {text}")),
        End::Hung => Some(format!("has not ended after {HUNG_AFTER:?}")),
        End::Crashed => None,
    };
    if let Some(line) = line {
        world.record(line);
    }
    {
        let _guard = runtime.enter();
        world.ends();
    }
    // The tasks that the function left running end here. Nothing that they do reaches the store any more.
    drop(runtime);
    let doubts = self::runtime().block_on(world.doubts());
    world.lands();
    let effects = world.state().effects.clone();
    world.state().ends.push(Ended { process: number, end: end.clone(), effects, doubts });
    end
}

async fn live<A: Report>(world: &Arc<World>, number: u32, function: &impl AsyncFn(Attempt) -> A) -> End {
    world.begins(number);
    let gate = Gate { store: Arc::new(world.store.clone()), world: world.clone(), process: number };
    let sentinel = Sentinel::new(Layered(gate));
    let sentinel = sentinel.worker(format!("process {number}"));
    let sentinel = sentinel.unwrap_or_else(|invalid| unreachable!("{invalid}"));
    let attempt = Attempt { world: world.clone(), sentinel, number };
    tokio::select! {
        biased;
        () = world.crashed.notified() => End::Crashed,
        answer = tokio::time::timeout(HUNG_AFTER, function(attempt)) => match answer {
            Ok(answer) => End::Reported(answer.reported()),
            Err(_) => End::Hung,
        },
    }
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
