//! Dropping the oldest events of a record that has too many. The script that wrote the last event reports that. The
//! kernel rebuilds the state that the dropped events led to, and a second script writes it in their place. If that
//! script does not run, the next one that finds the list too long reports it again, and [`history`](Caller::history)
//! does not show more.

use bytes::Bytes;
use sentinel_core::{Address, EventLimit, StoreError, kernel};

use crate::batch::call::{CallMode, Caller, script};
use crate::error::broken_store;
use crate::row::{self, Unreadable};
use crate::script::Script;

impl Caller {
    /// Drops what is too much, if it still is.
    pub(crate) async fn trim(&self, address: &Address) {
        if let Err(error) = self.try_trim(address).await {
            tracing::debug!(%address, %error, "a record has too many events: a later change of it drops the oldest");
        }
    }

    async fn try_trim(&self, address: &Address) -> Result<(), StoreError> {
        let [_, _, listed] = self.stored_events(address, u32::MAX).await?;
        let listed = listed.list()?.iter().map(|event| event.bytes().cloned().unwrap_or_default()).collect();
        let shorter =
            Shorter::of(listed, self.data_loss.events).map_err(|Unreadable(what)| broken_store(what))?;
        let Some(Shorter { dropped, oldest, kept }) = shorter else { return Ok(()) };
        let (bucket, offset) = (self.bucket_of(address), self.offset());
        let keys = vec![bucket.events(address.key.as_str())];
        let make = |registered: &_| {
            let trim = script(registered, Script::Trim, &bucket, keys.clone(), offset, false);
            trim.number(dropped).arg(oldest.clone()).arg(kept.clone())
        };
        self.send_until_answered(&address.namespace, CallMode::Write, make).await.map(drop)
    }
}

/// How a list gets shorter. One more event is in the record.
struct Shorter {
    /// How many are dropped.
    dropped: usize,
    /// The oldest as it is.
    oldest: Bytes,
    /// The oldest one that is kept, as it is to be.
    kept: Bytes,
}

impl Shorter {
    /// None: it is short enough. The newest events are in the record, and the list alone keeps the required number.
    fn of(listed: Vec<Bytes>, limit: EventLimit) -> Result<Option<Self>, Unreadable> {
        let dropped = listed.len().saturating_sub(limit.kept());
        let (Some(oldest), Some(kept)) = (listed.first(), listed.get(dropped)) else { return Ok(None) };
        if dropped == 0 {
            return Ok(None);
        }
        let events = listed[..dropped].iter().cloned().map(row::event).collect::<Result<Vec<_>, _>>()?;
        let kept = row::with_base(&kernel::rebuild(&events), kept)?;
        Ok(Some(Self { dropped, oldest: oldest.clone(), kept }))
    }
}
