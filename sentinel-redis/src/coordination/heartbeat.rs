//! Heartbeats: many leases in one script call for each bucket, on a connection of their own.

use std::collections::HashMap;

use futures_util::future::join_all;
use sentinel_core::kernel;
use sentinel_core::operation::*;
use sentinel_core::{GatheredBeats, Kind, Record, StoreError};

use super::transition::grant;
use crate::batch::ScriptReply;
use crate::batch::call::{Caller, Group};
use crate::error::broken_store;
use crate::row::{self, Unreadable};
use crate::script::Script;

/// The most leases of one script call: the server does nothing else while it runs.
const PAGE: usize = 256;

impl Caller {
    /// Sends beats; the replies are in their order.
    pub(crate) async fn beat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        if let Some(beat) = beats.first() {
            self.ready(&beat.address.namespace).await?;
        }
        let pages = self.pages(beats);
        let groups: Vec<Group> = pages.iter().map(|page| self.group(beats, page)).collect();
        let mut gathered = GatheredBeats::new(beats.len());
        // All calls run to their end: a master that is down affects only the leases in its own slots.
        let replies = join_all(groups.iter().map(|group| self.call(group))).await;
        for (page, replies) in pages.iter().zip(replies) {
            let explained = replies.and_then(|replies| explain_all(beats, page, replies));
            match explained {
                Ok(replies) => page.iter().zip(replies).for_each(|(n, reply)| gathered.answered(*n, reply)),
                Err(error) => gathered.failed(page.iter().copied(), error),
            }
        }
        gathered.finish()
    }

    /// The beats of each bucket and kind, this many at a time.
    fn pages(&self, beats: &[Beat]) -> Vec<Vec<usize>> {
        let mut buckets: HashMap<_, Vec<usize>> = HashMap::new();
        for (n, Beat { address, .. }) in beats.iter().enumerate() {
            let bucket = (&address.namespace, self.number_of(address), address.kind);
            buckets.entry(bucket).or_default().push(n);
        }
        buckets
            .into_values()
            .flat_map(|all| all.chunks(PAGE).map(<[usize]>::to_vec).collect::<Vec<_>>())
            .collect()
    }

    fn group(&self, beats: &[Beat], page: &[usize]) -> Group {
        let address = &beats[page[0]].address;
        let letter = if address.kind == Kind::Lease { 'l' } else { 'e' };
        Group {
            script: Script::Heartbeat,
            namespace: address.namespace.clone(),
            number: self.number_of(address),
            kind: address.kind,
            keys: page.iter().map(|n| beats[*n].address.key.clone()).collect(),
            args: page.iter().map(|n| grant(&beats[*n].grant).char(letter).done()).collect(),
            first: page.len(),
            barrier: address.kind == Kind::Lease,
        }
    }
}

fn explain_all(
    beats: &[Beat],
    page: &[usize],
    replies: Vec<ScriptReply>,
) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
    page.iter().zip(replies).map(|(n, reply)| explain(&beats[*n], reply)).collect()
}

fn explain(beat: &Beat, replies: ScriptReply) -> Result<Stamped<HeartbeatReply>, StoreError> {
    let at = replies.reading(beat.address.kind);
    let read = row::record_head(replies.stored).map_err(|Unreadable(what)| broken_store(what))?;
    let mut record = read.unwrap_or(Record::absent());
    let stamped = kernel::apply(&mut record, &Heartbeat { grant: beat.grant }, at)?.stamped;
    match stamped.stamp.changed == replies.changed {
        true => Ok(stamped),
        false => Err(broken_store(
            "a heartbeat did not make the change that the kernel's rules \
            require"
                .into(),
        )),
    }
}
