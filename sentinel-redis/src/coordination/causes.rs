//! The records that have one root or trace. Each bucket has an index of its own, so a page is taken from all buckets of
//! the namespaces in which a claim had a cause, and each record is checked: one that has expired may still be listed.

use bytes::Bytes;
use sentinel_core::store::List;
use sentinel_core::survey::CausePage;
use sentinel_core::{Address, CauseQuery, Key, Kind, Namespace, Record, StoreError, StoreTime};

use crate::batch::call::{CallMode, Caller, script};
use crate::connection::unexpected_reply;
use crate::data_loss::metadata::StoreMetadata;
use crate::error::broken_store;
use crate::script::Script;

/// What is looked for, as the entries of the index begin.
struct Entries<'q> {
    query: &'q CauseQuery,
    prefix: Vec<u8>,
    limit: usize,
}

impl Entries<'_> {
    /// The bounds of a page behind a name.
    fn range(&self, after: Option<&Name>) -> [Bytes; 2] {
        let from = match after {
            Some(after) => [b"(", &self.prefix[..], after.text().as_bytes()].concat(),
            None => [b"[", &self.prefix[..]].concat(),
        };
        let mut end = [b"(", &self.prefix[..]].concat();
        end.pop();
        end.push(1);
        [from.into(), end.into()]
    }
}

/// Kind and key, in the order of the index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    kind: Kind,
    key: Key,
}

impl Name {
    fn text(&self) -> String {
        let letter = match self.kind {
            Kind::Execution => 'e',
            Kind::Lease => 'l',
        };
        format!("{letter}:{}", self.key)
    }

    fn read(text: &str) -> Result<Self, StoreError> {
        let kind = match text.split_at_checked(2) {
            Some(("e:", _)) => Kind::Execution,
            Some(("l:", _)) => Kind::Lease,
            _ => return Err(broken_store(format!("{text:?} in the index of causes has no kind"))),
        };
        Ok(Self { kind, key: Key::new(&text[2..])? })
    }
}

impl Caller {
    /// Makes sure that readers look into a namespace, before a claim with a cause is sent.
    pub(crate) async fn enter_causes(&self, namespace: &Namespace) -> Result<(), StoreError> {
        let (connection, registered) = self.ready(namespace).await?;
        let entered = self.data_loss.enter_causes(&*connection, &registered, namespace).await;
        // No claim was sent.
        entered.map_err(StoreError::of_a_read)
    }

    /// A page of records by address.
    pub(crate) async fn by_cause(
        &self,
        query: &CauseQuery,
        after: Option<&Address>,
        limit: u32,
    ) -> Result<CausePage, StoreError> {
        let letter = match query {
            CauseQuery::Root(_) => 'r',
            CauseQuery::Trace(_) => 't',
        };
        let prefix = format!("{letter}{}\0", query.encoded()).into_bytes();
        let entries = Entries { query, prefix, limit: limit.clamp(1, List::MAX) as usize };
        let connection = self.connection_to_read().await?;
        let mut namespaces =
            StoreMetadata::namespaces_with_causes(&*connection, &self.data_loss.names).await?;
        namespaces.sort();
        let mut page = CausePage { records: Vec::new(), now: StoreTime::ZERO, incomplete: false };
        for namespace in namespaces {
            let after = match after {
                Some(after) if namespace < after.namespace => continue,
                Some(after) if namespace == after.namespace => {
                    Some(Name { kind: after.kind, key: after.key.clone() })
                }
                _ => None,
            };
            let (_, registered) = self.ready_to_read(&namespace, None).await?;
            page.incomplete |= registered.read_only;
            self.add_caused(&entries, &namespace, after, &mut page).await?;
            if page.records.len() >= entries.limit {
                page.records.truncate(entries.limit);
                break;
            }
        }
        Ok(page)
    }

    /// Adds the records of one namespace to a page, until it is full.
    async fn add_caused(
        &self,
        entries: &Entries<'_>,
        namespace: &Namespace,
        mut after: Option<Name>,
        page: &mut CausePage,
    ) -> Result<(), StoreError> {
        loop {
            let names = self.caused_after(entries, namespace, after.as_ref(), &mut page.now).await?;
            let is_last = names.len() < entries.limit;
            after = names.last().cloned();
            for kind in [Kind::Execution, Kind::Lease] {
                let keys = names.iter().filter(|name| name.kind == kind).map(|name| name.key.clone());
                for (key, record, now) in self.records_of(namespace, kind, keys.collect()).await? {
                    page.now = page.now.max(now);
                    if record.cause.as_ref().is_some_and(|cause| entries.query.matches(cause)) {
                        page.records.push((Address { namespace: namespace.clone(), kind, key }, record));
                    }
                }
            }
            if is_last || page.records.len() >= entries.limit {
                return Ok(());
            }
        }
    }

    /// The next names of all buckets.
    async fn caused_after(
        &self,
        entries: &Entries<'_>,
        namespace: &Namespace,
        after: Option<&Name>,
        now: &mut StoreTime,
    ) -> Result<Vec<Name>, StoreError> {
        let [from, end] = entries.range(after);
        // Both kinds of a bucket share the index.
        let buckets = self.buckets(namespace, Kind::Execution);
        let pages = buckets.iter().map(|bucket| {
            let make = |registered: &_| {
                let page = script(registered, Script::ByCause, bucket, Vec::new(), self.offset(), false);
                page.arg(from.clone()).arg(end.clone()).number(entries.limit)
            };
            self.send_until_answered(namespace, CallMode::ReadInDoubt, make)
        });
        let mut names = Vec::new();
        for page in futures_util::future::try_join_all(pages).await? {
            let mut page = page.list()?.into_iter();
            let clock = page.next().and_then(|clock| clock.text()?.parse().ok());
            let clock = clock.ok_or_else(|| broken_store("a page has no clock reading".into()))?;
            *now = (*now).max(StoreTime::from_micros(clock));
            for entry in page {
                let text = entry.text().ok_or_else(|| unexpected_reply(&entry))?;
                names.push(Name::read(text.get(entries.prefix.len()..).unwrap_or_default())?);
            }
        }
        names.sort();
        names.truncate(entries.limit);
        Ok(names)
    }

    async fn records_of(
        &self,
        namespace: &Namespace,
        kind: Kind,
        keys: Vec<Key>,
    ) -> Result<Vec<(Key, Record, StoreTime)>, StoreError> {
        let mut records = Vec::with_capacity(keys.len());
        for (key, reply) in self.heads(namespace, kind, keys).await? {
            let now = reply.now;
            records.extend(super::list::head(reply.stored)?.map(|record| (key, record, now)));
        }
        Ok(records)
    }
}
