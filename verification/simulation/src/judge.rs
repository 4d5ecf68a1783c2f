//! The verdict, when all is over: what callers were told, what functions did, and what the store holds must agree.

use sentinel_conformance::RunLog;
use sentinel_core::{Address, CoordinationStore as _, Kind};

use crate::world::World;

/// All promises that can be judged at the end. What is wrong is told with the log of the key.
pub(crate) async fn judge(world: &World) -> Result<(), String> {
    if let Some(broken) = world.observer.found() {
        return Err(broken);
    }
    let deeds = world.truth.told().clone();
    for address in world.addresses() {
        world.recorder.judge(&address).await?;
        let events = world.recorder.history(&address, 100_000).await.map_err(|error| error.to_string())?;
        if address.kind == Kind::Execution {
            in_time(world, &deeds, &address)?;
            deeds.judge(&address, &events)?;
        }
    }
    Ok(())
}

/// Nothing started when its lease was over. Whoever stands still between the last look at the clock and the start cannot
/// know.
fn in_time(world: &World, deeds: &RunLog, address: &Address) -> Result<(), String> {
    let mut starts = deeds.starts.iter().filter(|start| start.key == address.key);
    match starts.find(|start| start.late && world.options.faults.pause == 0) {
        Some(late) => Err(format!("call {} started when its lease was over: {address}", late.call)),
        None => Ok(()),
    }
}
