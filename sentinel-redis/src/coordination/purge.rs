//! Purging: candidates come from the index of due records, and the script that deletes checks each again.

use bytes::Bytes;
use sentinel_core::store::{Purge, Purged};
use sentinel_core::{Kind, StoreError};

use crate::batch::call::{CallMode, Caller, script};
use crate::connection::unexpected_reply;
use crate::schema::Bucket;
use crate::script::Script;

/// The most records of one script call.
const PAGE: u64 = 64;

impl Caller {
    /// Deletes records that are due, bucket by bucket.
    pub(crate) async fn purge(&self, op: &Purge) -> Result<Purged, StoreError> {
        match op.dry_run {
            true => self.ready_to_read(&op.namespace, None).await?,
            false => self.ready(&op.namespace).await?,
        };
        let mut purged = Purged { records: 0, more: false };
        for kind in [Kind::Execution, Kind::Lease] {
            for bucket in self.buckets(&op.namespace, kind) {
                let left = u64::from(op.limit) - purged.records;
                if op.dry_run {
                    purged.records += self.count(op, &bucket, left).await?;
                } else {
                    purged.records += self.empty(op, &bucket, left).await?;
                }
                if purged.records >= u64::from(op.limit) {
                    return Ok(Purged { more: true, ..purged });
                }
            }
        }
        Ok(purged)
    }

    /// Deletes at most this many, page by page.
    async fn empty(&self, op: &Purge, bucket: &Bucket, left: u64) -> Result<u64, StoreError> {
        let (mut deleted, mut before) = (0, Vec::new());
        while deleted < left {
            let due = self.due(op, bucket, PAGE.min(left - deleted)).await?;
            // Entries that the script did not remove would be returned again and again.
            if due == before {
                break;
            }
            deleted += self.purge_keys(op, bucket, &due).await?;
            before = due;
        }
        Ok(deleted)
    }

    /// Counts at most this many.
    async fn count(&self, op: &Purge, bucket: &Bucket, left: u64) -> Result<u64, StoreError> {
        let due = self.due(op, bucket, left).await?;
        let mut counted = 0;
        for page in due.chunks(PAGE as usize) {
            counted += self.purge_keys(op, bucket, page).await?;
        }
        Ok(counted)
    }

    async fn due(&self, op: &Purge, bucket: &Bucket, limit: u64) -> Result<Vec<Bytes>, StoreError> {
        let offset = self.offset();
        let reply = self
            .send_until_answered(
                &op.namespace,
                if op.dry_run { CallMode::ReadInDoubt } else { CallMode::Read },
                |registered| script(registered, Script::Due, bucket, Vec::new(), offset, false).number(limit),
            )
            .await?;
        reply
            .list()?
            .into_iter()
            .map(|key| key.bytes().cloned().ok_or_else(|| unexpected_reply(&key)))
            .collect()
    }

    /// How many of these keys were purged, or would be.
    async fn purge_keys(&self, op: &Purge, bucket: &Bucket, due: &[Bytes]) -> Result<u64, StoreError> {
        let offset = self.offset();
        let mut keys = Vec::with_capacity(due.len() * 3);
        for key in due {
            let key =
                std::str::from_utf8(key).map_err(|error| crate::error::broken_store(error.to_string()))?;
            keys.extend([bucket.record(key), bucket.events(key), bucket.gone(key)]);
        }
        let make =
            |registered: &_| script(registered, Script::Purge, bucket, keys.clone(), offset, op.dry_run);
        let replies = self
            .send_until_answered(
                &op.namespace,
                if op.dry_run { CallMode::ReadInDoubt } else { CallMode::Write },
                make,
            )
            .await?
            .list()?;
        Ok(replies.iter().filter(|reply| reply.text() == Some("1")).count() as u64)
    }
}
