//! The report of a broken promise.

use std::fmt::Write as _;

use super::clock::START;
use super::fault::Plan;
use super::world::World;
use crate::record::Event;
use crate::store::CoordinationStore as _;

/// Which promise was broken, what led to it, what the records contain, and how to run that world again.
pub(super) async fn report(world: &World, broken: &str, plan: &Plan, worlds: usize) -> String {
    let mut text = format!("{broken}\n\nWhat happened:\n");
    for line in &world.state().trace {
        let _ = writeln!(text, "    {line}");
    }
    let _ = writeln!(text, "\nThe events of the records:");
    let seen = world.state().seen.clone();
    for address in seen {
        let _ = writeln!(text, "    {address}");
        for event in world.store.history(&address, u32::MAX).await.unwrap_or_default() {
            let _ = writeln!(text, "        {}", line(&event));
        }
    }
    let named = plan.to_string();
    let _ = match plan.0.is_empty() {
        true => writeln!(text, "\nThis world had no faults."),
        false => writeln!(
            text,
            "\nThis was world {worlds}. To run it alone: Worlds::default().only({named:?}).check(..)"
        ),
    };
    text
}

fn line(event: &Event) -> String {
    let after = event.at.since(START);
    let state = event.to.map_or("absent", |state| state.as_str());
    let who = event.operator.as_ref().or(event.worker.as_ref()).map(|who| format!(", by {who}"));
    let why = event.reason.as_ref().map(|why| format!(" ({why})"));
    let (who, why) = (who.unwrap_or_default(), why.unwrap_or_default());
    format!("{:>10.3} s  {}: {state}{who}{why}", after.as_secs_f64(), event.change.name().replace('_', " "))
}
