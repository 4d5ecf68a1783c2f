//! Calls of scripts: one call for one bucket, and requests gathered into batches.

pub(crate) mod call;
mod execute;
mod executor;
mod reply;
mod request;

pub(crate) use executor::ScriptBatcher;
pub(crate) use reply::ScriptReply;
pub(crate) use request::ScriptRequest;
