//! The model of Sentinel.
mod catalogue;
mod coverage;
mod ghost;
mod liveness;
mod operator;
mod request;
mod setup;
mod store;
mod worker;
mod world;

use stateright::{Checker, HasDiscoveries, Model};

fn main() {
    let only = std::env::args().nth(1);let nobad = std::env::args().nth(2).is_some();
    let mut all: Vec<_> = catalogue::clean().into_iter().map(|s| (s.about, s)).collect();
    if only.as_deref() == Some("bad") {all.clear();}
    if !nobad {all.extend(catalogue::sabotages().into_iter().map(|s| (s.rule, s.setup)));
    all.extend(catalogue::broken().into_iter().map(|s| (s.rule, s.setup)));
    all.extend(catalogue::unpromised().into_iter().map(|s| (s.rule, s.setup)));
}
    for (rule, setup) in all {
    if only.as_ref().is_some_and(|o| o != setup.name && o != "all" && o != "bad") { continue }
    let t = std::time::Instant::now();
    let c = world::System::new(setup.clone()).checker().threads(2).timeout(std::time::Duration::from_secs(40)).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{} {:x} [{rule}] {:?} {:?} states {} unique {} depth {} {:?} done={}", setup.name, setup.asserted, setup.sabotage, setup.broken, c.state_count(), c.unique_state_count(), c.max_depth(), t.elapsed(), c.is_done());
    for (name, path) in c.discoveries() {
        println!("FAILED {name}");
        for a in path.into_actions() { println!("   {a:?}"); }
    }
    }
}
