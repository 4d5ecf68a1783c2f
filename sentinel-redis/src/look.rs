//! Looking at records: plain reads of marker and record, many in one pipeline behind one reading of the clock.

use std::sync::Arc;

use sentinel_core::kernel::{self, Reading};
use sentinel_core::operation::*;
use sentinel_core::{Address, Namespace, Record, StoreError, StoreTime, Token};

use crate::call::Caller;
use crate::names::Bucket;
use crate::row::{self, Unreadable};
use crate::transition::broken;
use crate::trust::{Armed, amnesia};
use crate::wire::{Answer, Command, Wire, odd};

/// A record as it was read.
pub(crate) struct Seen {
    pub(crate) now: StoreTime,
    pub(crate) record: Record,
}

impl Caller {
    /// Reads one record.
    pub(crate) async fn see(&self, address: &Address) -> Result<Seen, StoreError> {
        let (link, armed) = self.ready(&address.namespace).await?;
        let bucket = self.bucket_of(address);
        let time = Command::new("TIME", bucket.to());
        let read =
            Command::new("MGET", bucket.to()).arg(bucket.marker()).arg(bucket.record(address.key.as_str()));
        let answers = link.pipeline(vec![time, read]).await;
        let [time, read] =
            <[_; 2]>::try_from(answers).map_err(|_| broken("a pipeline answered too little".into()))?;
        let passing = |failure: &crate::wire::Failure| failure.is_passing();
        let read = match read {
            // The slot is on its way to another server: this takes its place, for as long as that takes.
            Err(failure) if passing(&failure) => {
                let again = || {
                    let read = Command::new("MGET", bucket.to());
                    read.arg(bucket.marker()).arg(bucket.record(address.key.as_str()))
                };
                self.insist(&address.namespace, false, |_| again()).await?
            }
            read => read?,
        };
        let now = micros(time?)?.saturating_add_signed(self.offset());
        let [marker, stored] =
            <[_; 2]>::try_from(read.list()?).map_err(|list| broken(format!("MGET answered {list:?}")))?;
        self.known(&*link, &armed, &address.namespace, &marker).await?;
        let record = match stored {
            Answer::Nil => Record::absent(),
            Answer::Bytes(bytes) => row::record(bytes).map_err(|Unreadable(what)| broken(what))?,
            other => return Err(odd(&other)),
        };
        Ok(Seen { now: StoreTime::from_micros(now).max(record.last_now), record })
    }
}

impl Caller {
    /// Makes sure that a bucket that is read plainly has its marker: one without it was forgotten.
    pub(crate) async fn marked(&self, namespace: &Namespace, bucket: &Bucket) -> Result<(), StoreError> {
        let (link, armed) = self.ready(namespace).await?;
        let get = |_: &_| Command::new("GET", bucket.to()).arg(bucket.marker());
        let marker = self.insist(namespace, false, get).await?;
        self.known(&*link, &armed, namespace, &marker).await
    }

    async fn known(
        &self,
        link: &dyn Wire,
        armed: &Arc<Armed>,
        namespace: &Namespace,
        marker: &Answer,
    ) -> Result<(), StoreError> {
        if marker.text() == Some(&armed.root.store) {
            return Ok(());
        }
        let again = self.trust.renew(link, armed).await?;
        match again.root.store == armed.root.store {
            true => Err(amnesia(&format!("a part of namespace {:?} has no marker", namespace.as_str()))),
            false => Ok(()),
        }
    }
}

/// The answer of `TIME`.
pub(crate) fn micros(time: Answer) -> Result<u64, StoreError> {
    let parts = time.list()?;
    let number = |n: usize| parts.get(n).and_then(Answer::text).and_then(|text| text.parse::<u64>().ok());
    match (number(0), number(1)) {
        (Some(seconds), Some(micros)) => Ok(seconds * 1_000_000 + micros),
        _ => Err(broken(format!("TIME answered {parts:?}"))),
    }
}

/// What a claim makes of a record that was read: an answer, or that the script has to say it.
pub(crate) fn judge(
    address: &Address,
    claim: &Claim,
    seen: Seen,
) -> Result<Option<Stamped<ClaimReply>>, StoreError> {
    let mut record = seen.record;
    let at = Reading { kind: address.kind, now: seen.now, floor: Token::NONE };
    let stamped = kernel::apply(&mut record, claim, at)?.stamped;
    // Granted anew, or once more: either is said by the script, and passes the barrier.
    Ok(Some(stamped).filter(|stamped| !matches!(stamped.reply, ClaimReply::Granted(_))))
}
