//! Free ports.

use std::hash::{BuildHasher as _, RandomState};
use std::net::TcpListener;

/// Below what systems hand out to outgoing connections. From within that range, a client that keeps asking for a server
/// that is down can be given the server's own port, connects to itself, and the server cannot come back.
const RANGE: std::ops::Range<u64> = 15_000..32_000;

/// A loopback port that no program listens on now. Another program may still take it first: the caller has to be ready
/// to ask for another one.
pub(crate) fn free() -> u16 {
    let width = RANGE.end - RANGE.start;
    let random = (0..1_000).map(|turn| RANGE.start + RandomState::new().hash_one(turn) % width);
    random
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a thousand loopback ports were tried, and none is free")
}
