//! What `docs/writing-a-store.md` has an author copy, compiled and run as it is there, on a store to read first.

extern crate self as my_store;

mod conformance;
mod guide;
mod store;
mod wire;

pub use store::MyStore;
