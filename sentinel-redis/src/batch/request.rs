//! A request that waits for its batch.

use bytes::Bytes;
use sentinel_core::Address;
use sentinel_store_kit::ReplyTo;

use super::reply::ScriptReply;
use crate::script::Script;

/// A request on one record.
pub(super) struct Pending {
    pub(super) request: ScriptRequest,
    pub(super) reply_to: ReplyTo<ScriptReply>,
}

/// A script to call on one record.
pub(crate) struct ScriptRequest {
    pub(crate) script: Script,
    /// It comes after the other requests of its call.
    pub(crate) comes_last: bool,
    pub(crate) address: Address,
    pub(crate) arg: Bytes,
    pub(crate) barrier: bool,
}
