//! The operations of the contract of coordination, and the statements that carry them out.

mod claim;
pub(crate) mod connections;
pub(crate) mod context;
mod heartbeat;
mod insert_complete;
mod list;
pub(crate) mod operations;
pub(crate) mod purge;
mod read;
mod replay;
mod row;
pub(crate) mod statement;
mod survey;
pub(crate) mod transition;
mod trim;
mod update;

pub(crate) use row::uuid;
