//! Lists and histories. Each bucket has an index of its keys: pages of keys are taken from all of them, and only the
//! records that can be on the page are read.

use bytes::Bytes;
use sentinel_core::store::{List, Listing, VisibleState};
use sentinel_core::{Address, Event, Key, Kind, Namespace, Record, StoreError, StoreTime, kernel};

use crate::batch::ScriptReply;
use crate::batch::call::{CallMode, Caller, Group, script};
use crate::connection::{Reply, unexpected_reply};
use crate::error::broken_store;
use crate::row::{self, Unreadable};
use crate::schema::{BEFORE_ALL, Bucket};
use crate::script::Script;

/// The most records that are read by one script call.
const HEADS: usize = 64;

impl Caller {
    /// A page of records by key.
    pub(crate) async fn list(&self, list: &List) -> Result<Listing, StoreError> {
        let limit = list.limit.clamp(1, List::MAX) as usize;
        let (mut records, mut after, mut now) = (Vec::new(), list.after.clone(), StoreTime::ZERO);
        self.ready_to_read(&list.namespace, None).await?;
        loop {
            let keys = self.keys_after(list, after.as_ref(), limit, &mut now).await?;
            let Some(last) = keys.last().cloned() else { break };
            let full = keys.len() == limit;
            for (key, reply) in self.heads(&list.namespace, list.kind, keys).await? {
                now = now.max(reply.now);
                // An entry whose record is gone is dropped by the next purge.
                if let Some(record) = head(reply.stored)?.filter(|record| list.wants(record, reply.now)) {
                    records.push((key, record));
                }
            }
            if records.len() >= limit || !full {
                break;
            }
            after = Some(last);
        }
        records.truncate(limit);
        Ok(Listing { records, now })
    }

    /// The next keys of all buckets, in byte order, and when they were read.
    async fn keys_after(
        &self,
        list: &List,
        after: Option<&Key>,
        limit: usize,
        now: &mut StoreTime,
    ) -> Result<Vec<Key>, StoreError> {
        let is_decided = |state| matches!(state, VisibleState::Free | VisibleState::Completed);
        let undecided = list.state.is_some_and(|state| !is_decided(state));
        // Behind the names that are no key's.
        let after = after.map_or(&BEFORE_ALL[..], |key| key.as_str().as_bytes());
        let from = Bytes::from([b"(", after].concat());
        let buckets = self.buckets(&list.namespace, list.kind);
        let pages = buckets.iter().map(|bucket| {
            let make = |registered: &_| {
                let page = script(registered, Script::Page, bucket, Vec::new(), self.offset(), false);
                page.word(if undecided { "1" } else { "0" }).arg(from.clone()).number(limit)
            };
            self.send_until_answered(&list.namespace, CallMode::ReadInDoubt, make)
        });
        let mut keys = Vec::new();
        for page in futures_util::future::try_join_all(pages).await? {
            let mut page = page.list()?.into_iter();
            let clock = page.next().and_then(|clock| clock.text()?.parse().ok());
            let clock = clock.ok_or_else(|| broken_store("a page has no clock reading".into()))?;
            *now = (*now).max(StoreTime::from_micros(clock));
            for member in page {
                keys.push(Key::new(member.text().ok_or_else(|| unexpected_reply(&member))?)?);
            }
        }
        keys.sort();
        keys.truncate(limit);
        Ok(keys)
    }

    /// The records of keys, in their order, without the bytes of their results.
    pub(super) async fn heads(
        &self,
        namespace: &Namespace,
        kind: Kind,
        keys: Vec<Key>,
    ) -> Result<Vec<(Key, ScriptReply)>, StoreError> {
        let mut groups: Vec<Group> = Vec::new();
        for key in keys {
            let address = Address { namespace: namespace.clone(), kind, key: key.clone() };
            let number = self.number_of(&address);
            match groups.iter_mut().find(|group| group.number == number && group.keys.len() < HEADS) {
                Some(group) => group.keys.push(key),
                None => groups.push(heads_of(namespace, number, kind, key)),
            }
        }
        for group in &mut groups {
            group.args = vec![Bytes::new(); group.keys.len()];
        }
        let mut heads = Vec::new();
        for (group, replies) in groups.iter().zip(self.call_all(&groups).await?) {
            for (key, reply) in group.keys.iter().zip(replies) {
                heads.push((key.clone(), reply));
            }
        }
        heads.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(heads)
    }

    /// Calls scripts concurrently.
    pub(crate) async fn call_all(&self, groups: &[Group]) -> Result<Vec<Vec<ScriptReply>>, StoreError> {
        futures_util::future::try_join_all(groups.iter().map(|group| self.call(group))).await
    }

    /// All buckets of a namespace.
    pub(crate) fn buckets(&self, namespace: &Namespace, kind: Kind) -> Vec<Bucket> {
        let buckets = self.buckets.load(std::sync::atomic::Ordering::Relaxed);
        (0..buckets).map(|number| self.data_loss.names.bucket(namespace, number, kind)).collect()
    }

    /// The newest events of a record, behind what remains of an earlier one that was purged.
    pub(crate) async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.ready_to_read(&address.namespace, None).await?;
        let most = self.data_loss.events;
        // Where there may be more events than are kept, all are read: the state before the oldest kept one is rebuilt
        // from them.
        let asked = if limit as usize >= most.kept() { u32::MAX } else { limit.max(1) };
        let [gone, newest, listed] = self.stored_events(address, asked).await?;
        let bytes = |reply: Reply| reply.bytes().cloned().ok_or_else(|| unexpected_reply(&reply));
        let unreadable = |Unreadable(what)| broken_store(what);
        let mut events = Vec::new();
        for event in listed.list()? {
            events.push(row::event(bytes(event)?).map_err(unreadable)?);
        }
        events.extend(row::events(bytes(newest)?).map_err(unreadable)?);
        kernel::trim(&mut events, most);
        let gone = bytes(gone)?;
        let begins = events.first().is_none_or(|oldest| oldest.base.is_none());
        if !gone.is_empty() && begins && events.len() < most.max() {
            events.insert(0, row::event(gone).map_err(unreadable)?);
        }
        let older = events.len().saturating_sub(limit as usize);
        Ok(events.split_off(older))
    }

    /// What is kept of a record's events: the one of an earlier record, those in the record itself, and this many of
    /// its list.
    pub(crate) async fn stored_events(
        &self,
        address: &Address,
        limit: u32,
    ) -> Result<[Reply; 3], StoreError> {
        let (bucket, key, offset) = (self.bucket_of(address), address.key.as_str(), self.offset());
        let keys = vec![bucket.record(key), bucket.events(key), bucket.gone(key)];
        let make = |registered: &_| {
            script(registered, Script::History, &bucket, keys.clone(), offset, false).number(limit)
        };
        let replies =
            self.send_until_answered(&address.namespace, CallMode::ReadInDoubt, make).await?.list()?;
        <[Reply; 3]>::try_from(replies)
            .map_err(|replies| broken_store(format!("a history is {} parts", replies.len())))
    }
}

fn heads_of(namespace: &Namespace, number: u32, kind: Kind, key: Key) -> Group {
    let namespace = namespace.clone();
    Group {
        script: Script::Heads,
        namespace,
        number,
        kind,
        keys: vec![key],
        args: Vec::new(),
        first: 0,
        barrier: false,
    }
}

pub(super) fn head(stored: Bytes) -> Result<Option<Record>, StoreError> {
    match stored.is_empty() {
        true => Ok(None),
        false => Ok(Some(row::record_without_bytes(stored).map_err(|Unreadable(what)| broken_store(what))?)),
    }
}
