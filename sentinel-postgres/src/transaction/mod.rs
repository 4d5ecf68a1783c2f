//! Work in a transaction of the user's: exactly once, completion, fences, and a commit that is checked.

pub(crate) mod commit;
pub(crate) mod complete_in;
pub(crate) mod fence;
pub(crate) mod once_in_transaction;
mod savepoint;
