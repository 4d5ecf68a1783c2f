//! What was measured: cells of a table, facts beside them, and the machine.

mod figures;
pub(crate) mod json;
mod machine;
mod recording;
pub(crate) mod stats;
pub(crate) mod svg;
pub(crate) mod table;

pub(crate) use figures::{Alternative, Cell, Fact, Goal, Latency, Open, Report, Side};
#[cfg(test)]
pub(crate) use machine::Machine;
