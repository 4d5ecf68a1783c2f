//! The markers of the buckets.

use bytes::Bytes;
use sentinel_core::{Kind, Namespace, StoreError};

use super::bare::{self, MARK, SWEEP};
use super::root::Root;
use crate::names::{BEFORE_ALL, Bucket, Names};
use crate::wire::{Answer, Command, Wire, odd};

/// The most names that are looked at by one script call.
const PAGE: usize = 128;

const KINDS: [Kind; 2] = [Kind::Execution, Kind::Lease];

impl Root {
    /// Sets the markers of a namespace, and reports how many were not right. Where one is not, something was dropped, and
    /// nothing asks for it any more.
    pub(super) async fn mark(
        &self,
        wire: &dyn Wire,
        names: &Names,
        namespace: &Namespace,
    ) -> Result<usize, StoreError> {
        let marks = (0..self.buckets).map(|number| async move {
            let [executions, leases] = KINDS.map(|kind| names.bucket(namespace, number, kind));
            let marker = Command::new("GET", executions.to()).arg(executions.marker());
            let is_right = wire.call(marker).await?.text() == Some(&self.store);
            if !is_right {
                self.sweep(wire, &executions).await?;
                self.sweep(wire, &leases).await?;
            }
            let mut keys = vec![executions.marker(), executions.touch()];
            keys.extend([executions.index(), leases.index(), executions.undecided(), leases.undecided()]);
            let args = vec![self.store.clone().into(), Bytes::from_static(&BEFORE_ALL)];
            bare::run(wire, MARK, executions.to(), keys, args).await?;
            Ok::<_, StoreError>(usize::from(!is_right))
        });
        Ok(futures_util::future::try_join_all(marks).await?.into_iter().sum())
    }

    /// Strikes names off that have no record, page by page.
    async fn sweep(&self, wire: &dyn Wire, bucket: &Bucket) -> Result<(), StoreError> {
        let mut after = Bytes::new();
        loop {
            let from = Bytes::from([b"(", after.as_ref()].concat());
            let page = Command::new("ZRANGEBYLEX", bucket.to()).arg(bucket.index()).arg(from).word("+");
            let page = names_of(wire, page.word("LIMIT").number(0).number(PAGE)).await?;
            let Some(last) = page.last().cloned() else { return Ok(()) };
            self.strike(wire, bucket, page).await?;
            after = last;
        }
    }

    async fn strike(&self, wire: &dyn Wire, bucket: &Bucket, page: Vec<Bytes>) -> Result<(), StoreError> {
        let mut keys = vec![bucket.marker(), bucket.index(), bucket.undecided(), bucket.due()];
        for name in &page {
            let name = std::str::from_utf8(name);
            let name = name.map_err(|error| crate::transition::broken(error.to_string()))?;
            keys.push(bucket.record(name));
        }
        let args = [Bytes::from(self.store.clone())].into_iter().chain(page).collect();
        bare::run(wire, SWEEP, bucket.to(), keys, args).await.map(drop)
    }
}

async fn names_of(wire: &dyn Wire, page: Command) -> Result<Vec<Bytes>, StoreError> {
    let page: Vec<Answer> = wire.call(page).await?.list()?;
    page.iter().map(|name| name.bytes().cloned().ok_or_else(|| odd(name))).collect()
}
