//! The reply of a script.

use bytes::Bytes;
use sentinel_core::kernel::Reading;
use sentinel_core::{Kind, StoreError, StoreTime, Token};

use crate::connection::{Reply, unexpected_reply};
use crate::error::broken_store;
use crate::row::{Cursor, Unreadable};

/// A script's reply for one item: whether it wrote, the reading of the clock, the floor, and the record as it was.
#[derive(Debug)]
pub(crate) struct ScriptReply {
    pub(crate) changed: bool,
    /// The record may have too many events since then.
    pub(crate) long: bool,
    pub(crate) now: StoreTime,
    pub(crate) floor: Token,
    pub(crate) stored: Bytes,
}

impl ScriptReply {
    /// Reads the reply of a call: the clock, the floor, and a letter for each item, then their records.
    pub(crate) fn all(reply: Reply) -> Result<Vec<Self>, StoreError> {
        let mut replies = reply.list()?.into_iter();
        let head = replies.next().and_then(|head| head.bytes().cloned()).unwrap_or_default();
        let mut head = Cursor(head);
        let mut read = || Ok((head.instant()?, Token::from_stored(head.u64()?)));
        let (now, floor) = read().map_err(|Unreadable(what)| broken_store(what))?;
        let each = replies.map(|stored| {
            let (changed, long) = match head.char().map_err(|Unreadable(what)| broken_store(what))? {
                '0' => (false, false),
                '1' => (true, false),
                '2' => (true, true),
                other => return Err(broken_store(format!("{other:?} is not the code of a change"))),
            };
            let stored = match stored {
                Reply::Bytes(stored) => stored,
                Reply::Nil => Bytes::new(),
                other => return Err(unexpected_reply(&other)),
            };
            Ok(Self { changed, long, now, floor, stored })
        });
        each.collect()
    }

    pub(crate) fn reading(&self, kind: Kind) -> Reading {
        Reading { kind, now: self.now, floor: self.floor }
    }
}
