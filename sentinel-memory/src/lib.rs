//! The in-memory store of Sentinel: the kernel under sharded locks.
//!
//! It is what a unit test swaps in (`MemoryStore::new()`: no server, no features, no file), and the reference that the
//! conformance suite judges other stores by. Its clock is tokio's: `tokio::time::pause` and `advance` move it, so leases
//! lapse when a test says so. Guarantees hold within the process; nothing outlives it.

mod shard;
mod store;
mod survey;

pub use store::MemoryStore;
