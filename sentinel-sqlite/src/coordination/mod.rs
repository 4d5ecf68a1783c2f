//! What the operations of coordination do on a connection: rows and events, read and written.

mod causes;
pub(crate) mod events;
mod heartbeat;
mod list;
pub(crate) mod purge;
mod read;
pub(crate) mod row;
pub(crate) mod transition;
