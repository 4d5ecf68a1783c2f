//! The rules, as a pure function of (record, operation, store now): no I/O, no waiting, no clock, no randomness.
//!
//! [`table`] has the guards, one function for each operation, in the order of spec §3. `write` has the changes to the
//! record. `rebuild` makes a record from its events. A store that runs this function under the record's lock follows
//! the rules. A store that ports the guards to SQL or Lua runs this function on the record that it read, to find the
//! reason for a refusal. The conformance suite checks that both agree.

mod any;
mod operations;
mod reading;
mod rebuild;
pub mod table;
mod write;

pub use crate::event::Rebuilt;
pub use any::{Op, Reply};
pub use operations::{Operation, apply};
pub use reading::{Reading, Rule, Transition};
pub use rebuild::{rebuild, trim};
pub use write::purge;
