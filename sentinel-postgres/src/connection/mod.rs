//! Connections of the store's own: how they are made, what a session is set to, and what is known of the server.

pub(crate) mod connector;
mod idle;
pub(crate) mod migrate;
pub(crate) mod notices;
pub(crate) mod retry;
pub(crate) mod server_info;
pub(crate) mod session;
pub(crate) mod source;
mod timeline;
