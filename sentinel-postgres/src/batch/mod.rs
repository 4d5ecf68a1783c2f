//! Batches operations into statements, over connections that tasks own; and runs single statements.

mod connected;
pub(crate) mod executor;
pub(crate) mod single;
