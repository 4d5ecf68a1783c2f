//! Batches operations into statements, over connections that tasks own; and runs single statements.

pub(crate) mod batcher;
mod connected;
pub(crate) mod pair;
pub(crate) mod reply;
pub(crate) mod seen_keys;
pub(crate) mod single;
#[cfg(test)]
mod tests;
