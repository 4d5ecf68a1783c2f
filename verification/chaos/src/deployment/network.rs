//! What can happen on the way to a server.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use sentinel_testbed::Proxy;

use crate::crew::pass;

/// Breaks the way for a while, and mends it; says how.
pub(super) fn strike(way: &Proxy, rng: &mut StdRng) -> String {
    let long = Duration::from_millis(rng.random_range(20..=600));
    let lost = way.requests().swallowed() + way.replies().swallowed();
    let what = match rng.random_range(0..7) {
        0 => {
            way.cut();
            return "all connections are cut".into();
        }
        1 => {
            way.replies().swallow();
            "replies are lost"
        }
        2 => {
            way.black_hole();
            "the network is a black hole"
        }
        3 => {
            way.requests().hold();
            "requests are held back"
        }
        4 => {
            way.replies().hold();
            "replies are held back"
        }
        5 => {
            way.refuse();
            way.cut();
            "connections are refused"
        }
        _ => {
            let bytes = rng.random_range(1..20_000);
            way.replies().cut_after(bytes);
            "a connection is cut within a reply"
        }
    };
    pass(long);
    // No stream goes on after bytes that are gone: what was open ends before anything else passes.
    if way.requests().swallowed() + way.replies().swallowed() > lost || rng.random_ratio(1, 2) {
        way.cut();
    }
    way.heal();
    format!("{what} for {long:?}")
}
