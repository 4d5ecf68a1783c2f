//! Batches operations into statements, over connections that tasks own; and runs single statements.

pub(crate) mod executor;
pub(crate) mod single;
pub(crate) mod slot;
