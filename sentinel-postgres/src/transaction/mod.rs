//! Work in a transaction of the user's: claims, completion, fences, and a commit that is checked.

pub(crate) mod claim_in;
pub(crate) mod commit;
pub(crate) mod complete_in;
pub(crate) mod fence;
mod savepoint;
