//! Connections to the file: who may open it, in which order, with which settings.

pub(crate) mod context;
pub(crate) mod filesystem;
pub(crate) mod options;
pub(crate) mod reader;
pub(crate) mod seal;
pub(crate) mod time;
pub(crate) mod turns;
pub(crate) mod writer;
