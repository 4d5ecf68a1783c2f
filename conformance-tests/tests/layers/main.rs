//! The generated layers of the suite, over the in-memory store, and what proves that they would notice.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod faults;
mod flawed;
mod histories;
mod memory;
mod sequences;
