//! The verdict, when all is over: what callers were told, what functions did, and what the store holds must agree.

use std::collections::{BTreeMap, BTreeSet};

use sentinel_conformance::authorised_runs;
use sentinel_core::{Address, Change, CoordinationStore as _, Event, Kind};

use crate::world::{Told, World};

/// All promises that can be judged at the end. What is wrong is told with the log of the key.
pub(crate) async fn judge(world: &World) -> Result<(), String> {
    if let Some(broken) = world.observer.found() {
        return Err(broken);
    }
    let told = world.truth.told().clone();
    for address in world.addresses() {
        world.recorder.judge(&address).await?;
        let events = world.recorder.history(&address, 100_000).await.map_err(|error| error.to_string())?;
        if address.kind == Kind::Execution {
            execution(world, &told, &address, &events)
                .map_err(|wrong| format!("{wrong}: {address}\n{}", lines(&events)))?;
        }
    }
    Ok(())
}

fn lines(events: &[Event]) -> String {
    events.iter().map(|event| format!("  {event:?}\n")).collect()
}

fn execution(world: &World, told: &Told, address: &Address, events: &[Event]) -> Result<(), String> {
    // Whoever stands still between the last look at the clock and the start cannot know.
    if world.options.faults.pause == 0
        && let Some(late) = told.starts.iter().find(|start| start.key == address.key && start.late)
    {
        return Err(format!("call {} started when its lease was over", late.call));
    }
    runs(told, address, events)?;
    words(told, events)?;
    effects(told, address)?;
    answers(told, address, events)
}

/// No more runs than were authorised, one for each grant, and none without one.
fn runs(told: &Told, address: &Address, events: &[Event]) -> Result<(), String> {
    let starts: Vec<_> = told.starts.iter().filter(|start| start.key == address.key).collect();
    let most = authorised_runs(events);
    if starts.len() > most {
        return Err(format!("{} functions started where {most} were authorised", starts.len()));
    }
    let mut grants = BTreeSet::new();
    for start in starts {
        let begun = |event: &&Event| {
            event.claim_id == Some(start.grant.claim_id)
                && matches!(event.change, Change::Begun | Change::Claimed { begun: true, .. })
        };
        if !events.iter().any(|event| begun(&event)) {
            return Err(format!("call {} ran and had never begun", start.call));
        }
        if !grants.insert(start.grant.claim_id) {
            return Err(format!("call {} ran twice", start.call));
        }
    }
    Ok(())
}

/// What the store was told of a run is true: who vouched that nothing happened made no effect, who withdrew never ran, who
/// recorded a result did.
fn words(told: &Told, events: &[Event]) -> Result<(), String> {
    let ran: BTreeSet<_> = told.starts.iter().map(|start| start.grant.claim_id).collect();
    let acted: BTreeSet<_> = told.effects.values().flatten().map(|effect| effect.grant.claim_id).collect();
    for event in events {
        let Some(id) = event.claim_id else { continue };
        let lie = match event.change {
            Change::Released { vouched: true } => {
                acted.contains(&id).then_some("vouched that nothing happened")
            }
            Change::Cancelled => ran.contains(&id).then_some("withdrew, and ran"),
            Change::Completed { .. } => (!ran.contains(&id)).then_some("recorded a result, and never ran"),
            _ => None,
        };
        if let Some(lie) = lie {
            return Err(format!("the call under {id} {lie}"));
        }
    }
    Ok(())
}

/// One effect for each run, and a run of each.
fn effects(told: &Told, address: &Address) -> Result<(), String> {
    let started: BTreeSet<_> = told.starts.iter().map(|start| start.grant.claim_id).collect();
    let mut seen = BTreeMap::new();
    for effect in told.effects_on(&address.key) {
        let times: &mut u32 = seen.entry(effect.grant.claim_id).or_default();
        *times += 1;
        if !started.contains(&effect.grant.claim_id) || *times > 1 {
            return Err(format!("an effect without a run of its own, {effect:?}, on {address}"));
        }
    }
    Ok(())
}

/// What callers were told is true.
fn answers(told: &Told, address: &Address, events: &[Event]) -> Result<(), String> {
    let starts = || told.starts.iter().filter(|start| start.key == address.key);
    let own = |call: u64| starts().find(|start| start.call == call);
    let values: BTreeSet<&str> = told
        .effects_on(&address.key)
        .map(|effect| effect.value.as_str())
        .chain(told.decided.iter().filter(|(key, _)| *key == address.key).map(|(_, value)| value.as_str()))
        .chain(["Final"])
        .collect();
    for answer in told.answers.iter().filter(|answer| answer.key == address.key) {
        let start = own(answer.call);
        match answer.name {
            _ if answer.ran && start.is_none() => {
                return Err(format!("call {} was told that it ran, and it did not", answer.call));
            }
            "completed" => {
                let id = start.map(|start| start.grant.claim_id);
                let recorded =
                    |event: &Event| matches!(event.change, Change::Completed { .. }) && event.claim_id == id;
                if !events.iter().any(recorded) {
                    return Err(format!("call {} was told that it is recorded, and it is not", answer.call));
                }
            }
            "in_progress" | "reconciling" | "uncertain" | "not_run" | "replayed" | "error"
                if start.is_some() =>
            {
                return Err(format!("call {} was told {} and its function ran", answer.call, answer.name));
            }
            _ => {}
        }
        if let Some(value) = &answer.value
            && !values.contains(value.as_str())
        {
            return Err(format!("call {} was told {value:?}, which nobody did under this key", answer.call));
        }
    }
    Ok(())
}
