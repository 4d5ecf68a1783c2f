//! Requests that only read: plain reads of markers and records, of as many as can be read by one command, behind one reading
//! of the clock.

use std::collections::HashMap;
use std::sync::Arc;

use sentinel_core::kernel::{self, Reading};
use sentinel_core::operation::*;
use sentinel_core::{Address, Namespace, Record, StoreError, StoreTime, Token};

use super::{Freight, Reply};
use crate::call::Caller;
use crate::names::Bucket;
use crate::row::{self, Unreadable};
use crate::transition::broken;
use crate::trust::amnesia;
use crate::wire::{Answer, Command, odd};

/// The most records of one command.
const CAP: usize = 128;

/// A record as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) now: StoreTime,
    pub(crate) record: Record,
}

/// A look at one record.
pub(crate) struct Look {
    pub(crate) address: Address,
    pub(crate) reply: Reply<Seen>,
}

/// What goes out as reads.
pub(crate) struct Looks(pub(crate) Arc<Caller>);

impl Freight for Looks {
    type Item = Look;

    async fn ship(&self, items: Vec<Look>) {
        let mut groups: HashMap<_, Vec<Look>> = HashMap::new();
        for item in items {
            // One server reads from all its slots at once; those of a cluster each from their own.
            let number = self.0.is_clustered().then(|| self.0.number_of(&item.address));
            groups.entry((item.address.namespace.clone(), number)).or_default().push(item);
        }
        let reads = groups.into_iter().map(|((namespace, _), mut looks)| async move {
            while !looks.is_empty() {
                let later = looks.split_off(looks.len().min(CAP));
                answer(&self.0, &namespace, std::mem::replace(&mut looks, later)).await;
            }
        });
        futures_util::future::join_all(reads).await;
    }
}

async fn answer(caller: &Caller, namespace: &Namespace, looks: Vec<Look>) {
    let mut seen = read(caller, namespace, &looks).await.map(Vec::into_iter);
    for look in looks {
        let answer = match &mut seen {
            Ok(seen) => seen.next().unwrap_or_else(|| Err(broken("a read answered too little".into()))),
            Err(error) => Err(error.clone()),
        };
        let _ = look.reply.send(answer);
    }
}

/// Reads the clock, the markers of all buckets that are asked of, and the records.
async fn read(
    caller: &Caller,
    namespace: &Namespace,
    looks: &[Look],
) -> Result<Vec<Result<Seen, StoreError>>, StoreError> {
    let mut buckets: Vec<Bucket> = Vec::new();
    let mut places = Vec::with_capacity(looks.len());
    for look in looks {
        let bucket = caller.bucket_of(&look.address);
        places.push(buckets.iter().position(|known| *known == bucket).unwrap_or_else(|| {
            buckets.push(bucket);
            buckets.len() - 1
        }));
    }
    let Some(first) = buckets.first() else { return Ok(Vec::new()) };
    let names = || {
        let records =
            looks.iter().zip(&places).map(|(look, n)| buckets[*n].record(look.address.key.as_str()));
        buckets.iter().map(Bucket::marker).chain(records)
    };
    let time = caller.insist(namespace, false, |_| Command::new("TIME", first.to()));
    let read =
        caller.insist(namespace, false, |_| names().fold(Command::new("MGET", first.to()), Command::arg));
    // One after the other on one connection, without waiting in between: the clock is read first.
    let (time, read) = futures_util::future::try_join(time, read).await?;
    let now = StoreTime::from_micros(micros(time)?.saturating_add_signed(caller.offset()));
    let mut read = read.list()?.into_iter();
    let markers: Vec<Answer> = read.by_ref().take(buckets.len()).collect();
    caller.remembered(namespace, &markers).await?;
    Ok(read.map(|stored| seen(now, stored)).collect())
}

fn seen(now: StoreTime, stored: Answer) -> Result<Seen, StoreError> {
    let record = match stored {
        Answer::Nil => Record::absent(),
        Answer::Bytes(bytes) => row::record(bytes).map_err(|Unreadable(what)| broken(what))?,
        other => return Err(odd(&other)),
    };
    Ok(Seen { now: now.max(record.last_now), record })
}

impl Caller {
    /// Makes sure that a bucket that is read plainly has its marker: one without it was forgotten.
    pub(crate) async fn marked(&self, namespace: &Namespace, bucket: &Bucket) -> Result<(), StoreError> {
        let get = |_: &_| Command::new("GET", bucket.to()).arg(bucket.marker());
        let marker = self.insist(namespace, false, get).await?;
        self.remembered(namespace, &[marker]).await
    }

    /// Whether the markers are those of the store that was armed.
    async fn remembered(&self, namespace: &Namespace, markers: &[Answer]) -> Result<(), StoreError> {
        let (link, armed) = self.ready(namespace).await?;
        let is = |store: &str| markers.iter().all(|marker| marker.text() == Some(store));
        if is(&armed.root.store) || is(&self.trust.renew(&*link, &armed).await?.root.store) {
            return Ok(());
        }
        Err(amnesia(&format!("a part of namespace {:?} has no marker", namespace.as_str())))
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
