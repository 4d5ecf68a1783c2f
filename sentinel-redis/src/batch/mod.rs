//! Calls of scripts: one call for one bucket, and requests gathered into batches.

mod batcher;
pub(crate) mod call;
mod execute;
mod reply;
mod request;

pub(crate) use batcher::Batcher;
pub(crate) use reply::ScriptReply;
pub(crate) use request::ScriptRequest;
