//! Free ports.

use std::hash::{BuildHasher as _, RandomState};
use std::net::TcpListener;

use crate::process::Server;

/// How often a port is tried that another program may take first.
const MAX_ATTEMPTS: u32 = 10;

/// Below what systems hand out to outgoing connections. From within that range, a client that keeps asking for a server
/// that is down can be given the server's own port, connects to itself, and the server cannot come back.
const RANGE: std::ops::Range<u64> = 15_000..32_000;

/// Launches a server on a free port. `launch` takes the port and returns whether the server is ready.
///
/// # Panics
/// With the server's log, if it does not start for another reason than that another program took its port.
#[track_caller]
pub(crate) fn launch_on_a_free_port<S>(
    mut started: S,
    server: impl Fn(&S) -> &Server,
    launch: impl Fn(&mut S, u16) -> bool,
) -> S {
    for _ in 0..MAX_ATTEMPTS {
        let before = server(&started).log().len();
        if launch(&mut started, free()) {
            return started;
        }
        let Server { name, .. } = server(&started);
        let log = server(&started).log();
        assert!(is_taken(&log[before..]), "{name} did not start: {log}");
    }
    panic!("{} found no free port: {}", server(&started).name, server(&started).log());
}

/// Whether a server's log has the error that its port is in use, in words of PostgreSQL, PgBouncer or Redis.
fn is_taken(log: &str) -> bool {
    log.contains("in use")
}

/// A loopback port that no program listens on now. Another program may still take it first.
pub(crate) fn free() -> u16 {
    let width = RANGE.end - RANGE.start;
    let random = (0..1_000).map(|turn| RANGE.start + RandomState::new().hash_one(turn) % width);
    random
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a thousand loopback ports were tried, and none is free")
}
