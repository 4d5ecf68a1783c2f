//! The in-memory store of Sentinel: the kernel under sharded locks.
//!
//! It is what a unit test swaps in (`MemoryStore::new()`: no server, no features, no file), and the reference that the
//! conformance suite judges other stores by. Its clock is tokio's: `tokio::time::pause` and `advance` move it, so a
//! test decides when leases lapse. The guarantees are for one process; nothing outlives it.

mod shard;
mod store;

pub use store::MemoryStore;
