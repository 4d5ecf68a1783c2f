//! Dropping the oldest events of a record of which there are too many. The script that wrote the last event reports that; the
//! kernel rebuilds here what the dropped ones had come to, and a second script puts that in their place. If it does not get
//! there, the next script that finds the list too long reports it again, and [`history`](Caller::history) does not show more.

use bytes::Bytes;
use sentinel_core::{Address, EventLimit, StoreError, kernel};

use crate::call::{Caller, Way, script};
use crate::row::{self, Unreadable};
use crate::script::Script;
use crate::transition::broken;

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
        let shorter = Shorter::of(listed, self.trust.events).map_err(|Unreadable(what)| broken(what))?;
        let Some(Shorter { dropped, oldest, kept }) = shorter else { return Ok(()) };
        let (bucket, offset) = (self.bucket_of(address), self.offset());
        let keys = vec![bucket.events(address.key.as_str())];
        let make = |armed: &_| {
            let trim = script(armed, Script::Trim, &bucket, keys.clone(), offset, false);
            trim.number(dropped).arg(oldest.clone()).arg(kept.clone())
        };
        self.insist(&address.namespace, Way::Changes, make).await.map(drop)
    }
}

/// How a list gets shorter. One more event stands in the record.
struct Shorter {
    /// So many are dropped.
    dropped: usize,
    /// The oldest as it is.
    oldest: Bytes,
    /// The oldest one that is kept, as it is to be.
    kept: Bytes,
}

impl Shorter {
    /// None: it is short enough. The newest events stand in the record, so the list alone has enough of them.
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
