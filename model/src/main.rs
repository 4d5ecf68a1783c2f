//! The model of Sentinel.
mod catalogue;
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
    let only = std::env::args().nth(1);
    for setup in catalogue::clean() {
        if only.as_ref().is_some_and(|o| o != setup.name) {
            continue;
        }
        let t = std::time::Instant::now();
        let c = world::System::new(setup.clone())
            .checker()
            .threads(2)
            .timeout(std::time::Duration::from_secs(25))
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        println!(
            "{} states {} unique {} depth {} {:?} done={}",
            setup.name,
            c.state_count(),
            c.unique_state_count(),
            c.max_depth(),
            t.elapsed(),
            c.is_done()
        );
        for (name, path) in c.discoveries() {
            println!("FAILED {name}");
            for a in path.into_actions() {
                println!("   {a:?}");
            }
        }
    }
}
