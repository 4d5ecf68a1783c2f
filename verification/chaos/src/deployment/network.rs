//! What can happen between a process and a server.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use sentinel_testbed::Proxy;

use crate::workers::pass;

/// Injects a fault of the network for a while; returns what it was.
pub(super) fn inject(proxy: &Proxy, rng: &mut StdRng) -> String {
    let long = Duration::from_millis(rng.random_range(20..=600));
    let lost = proxy.requests().swallowed() + proxy.replies().swallowed();
    let what = match rng.random_range(0..7) {
        0 => {
            proxy.cut();
            return "all connections are cut".into();
        }
        1 => {
            proxy.replies().swallow();
            "replies are lost"
        }
        2 => {
            proxy.black_hole();
            "the network is a black hole"
        }
        3 => {
            proxy.requests().hold();
            "requests are held back"
        }
        4 => {
            proxy.replies().hold();
            "replies are held back"
        }
        5 => {
            proxy.refuse();
            proxy.cut();
            "connections are refused"
        }
        _ => {
            let bytes = rng.random_range(1..20_000);
            proxy.replies().cut_after(bytes);
            "a connection is cut within a reply"
        }
    };
    pass(long);
    // No stream goes on after bytes that are gone: what was open ends before anything else passes.
    if proxy.requests().swallowed() + proxy.replies().swallowed() > lost || rng.random_ratio(1, 2) {
        proxy.cut();
    }
    proxy.heal();
    format!("{what} for {long:?}")
}
