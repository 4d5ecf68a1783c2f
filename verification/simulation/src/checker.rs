//! The checks at the end: the outcomes of callers, the actions of functions, and the records of the store must agree.

use sentinel_conformance::RunLog;
use sentinel_core::{Address, CoordinationStore as _, Kind};

use crate::world::World;

/// All promises that can be checked at the end. What is broken is reported with the log of the key.
pub(crate) async fn check(world: &World) -> Result<(), String> {
    if let Some(broken) = world.observer.found() {
        return Err(broken);
    }
    let run_log = world.truth.log().clone();
    for address in world.addresses() {
        world.recorder.check(&address).await?;
        let events = world.recorder.history(&address, 100_000).await.map_err(|error| error.to_string())?;
        if address.kind == Kind::Execution {
            in_time(world, &run_log, &address)?;
            run_log.check(&address, &events)?;
        }
    }
    Ok(())
}

/// Nothing started when its lease was over. A process that is paused between its last reading of the clock
/// and the start cannot know.
fn in_time(world: &World, run_log: &RunLog, address: &Address) -> Result<(), String> {
    let mut starts = run_log.starts.iter().filter(|start| start.key == address.key);
    match starts.find(|start| start.late && world.options.faults.pause == 0) {
        Some(late) => Err(format!("call {} started when its lease was over: {address}", late.call)),
        None => Ok(()),
    }
}
