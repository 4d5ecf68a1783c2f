//! The operations of [`CoordinationStore`](sentinel_core::CoordinationStore), each by its script.

mod causes;
mod heartbeat;
mod list;
mod purge;
mod survey;
mod transition;
mod trim;

pub(crate) use transition::{ScriptedOperation, explain, record, replay_of};
