//! The generated layers of the suite, over the in-memory store, and what proves that they would notice.

mod memory;
mod sequences;
