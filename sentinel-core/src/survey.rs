//! Reads over a whole store, for people on call: which namespaces exist, and which keys are undecided.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::address::{Address, Kind, Namespace};
use crate::cause::CauseQuery;
use crate::error::StoreError;
use crate::record::{Record, State};
use crate::store::{CoordinationStore, List, VisibleState};
use crate::time::StoreTime;

/// Reads over all namespaces of a store. Every method only reads: it changes nothing and can be repeated. Each record
/// is read by itself, not all of them at one instant.
#[async_trait]
pub trait Survey: Send + Sync + Debug + 'static {
    /// Returns at most `limit` namespaces in byte order, after one of them. A namespace that has records is always
    /// included; one whose records were all purged may be.
    async fn namespaces(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>, StoreError>;

    /// Returns the executions that are uncertain or reconciling, those longest in doubt first.
    async fn undecided(&self, filter: &Undecided) -> Result<UndecidedPage, StoreError>;

    /// Returns the records whose last claim has this root or trace, in all namespaces and of both kinds: at most
    /// `limit` of them (1 to [`List::MAX`](crate::store::List::MAX)), those after an address, in the order of
    /// [`Address`]: by namespace, then executions before leases, then by key, each byte by byte. Tombstones are among
    /// them, and purged records are not. A page with fewer records than `limit` is the last one.
    async fn by_cause(
        &self,
        query: &CauseQuery,
        after: Option<&Address>,
        limit: u32,
    ) -> Result<CausePage, StoreError>;
}

/// A page of records that have one root or trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CausePage {
    /// Addresses and records, in the order of the addresses, without the bytes of the results.
    pub records: Vec<(Address, Record)>,
    /// The latest reading of the store's clock.
    pub now: StoreTime,
    /// Whether records may be missing that the store was asked for, because it may have lost its newest writes.
    pub incomplete: bool,
}

/// A filter for undecided executions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecided {
    /// Only those of this namespace; None: those of all.
    pub namespace: Option<Namespace>,
    /// Only those that have been in doubt for at least this long.
    pub after_age: Duration,
    /// The largest number of executions.
    pub limit: u32,
}

/// A page of undecided executions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndecidedPage {
    /// Addresses and records, those longest in doubt first, without the bytes of the results.
    pub records: Vec<(Address, Record)>,
    /// The latest reading of the store's clock.
    pub now: StoreTime,
    /// Whether more than [`MAX_READ`](Self::MAX_READ) executions are undecided. The page was then chosen from those
    /// that were read, and older ones may be missing.
    pub incomplete: bool,
}

impl UndecidedPage {
    /// The largest number of undecided executions from which a page is chosen.
    pub const MAX_READ: usize = 10_000;
}

/// When an execution became uncertain: at the end of its lease, or when an operator took it, if that was earlier. A
/// later takeover by an operator does not change this time.
pub fn in_doubt_since(record: &Record) -> StoreTime {
    match (record.state, &record.decision) {
        (State::Reconciling, Some(decision)) => decision.at.min(record.lease_until),
        _ => record.lease_until,
    }
}

/// Implements [`Survey::undecided`] with [`CoordinationStore::list`], for a store that reads only the records of one
/// state when it lists that state.
pub async fn undecided_by_listing<S>(store: &S, filter: &Undecided) -> Result<UndecidedPage, StoreError>
where
    S: CoordinationStore + Survey,
{
    let mut page = UndecidedPage { records: Vec::new(), now: StoreTime::ZERO, incomplete: false };
    match &filter.namespace {
        Some(namespace) => read_undecided(store, namespace, &mut page).await?,
        None => {
            let mut after = None;
            loop {
                let namespaces = store.namespaces(after.as_ref(), List::MAX).await?;
                for namespace in &namespaces {
                    read_undecided(store, namespace, &mut page).await?;
                }
                match namespaces.last() {
                    Some(last) if !page.incomplete => after = Some(last.clone()),
                    _ => break,
                }
            }
        }
    }
    let now = page.now;
    page.records.retain(|(_, record)| now.since(in_doubt_since(record)) >= filter.after_age);
    page.records.sort_by(|(one, a), (other, b)| {
        let at = |address: &Address| (address.namespace.clone(), address.key.clone());
        in_doubt_since(a).cmp(&in_doubt_since(b)).then_with(|| at(one).cmp(&at(other)))
    });
    page.records.truncate(filter.limit as usize);
    Ok(page)
}

async fn read_undecided<S: CoordinationStore>(
    store: &S,
    namespace: &Namespace,
    page: &mut UndecidedPage,
) -> Result<(), StoreError> {
    for state in [VisibleState::Uncertain, VisibleState::Reconciling] {
        let mut after = None;
        loop {
            let (namespace, state) = (namespace.clone(), Some(state));
            let list = List { namespace, kind: Kind::Execution, state, after, limit: List::MAX };
            let listing = store.list(&list).await?;
            page.now = page.now.max(listing.now);
            let full = listing.records.len() == List::MAX as usize;
            after = listing.records.last().map(|(key, _)| key.clone());
            let at = |key| Address { namespace: list.namespace.clone(), kind: list.kind, key };
            page.records.extend(listing.records.into_iter().map(|(key, record)| (at(key), record)));
            if page.records.len() > UndecidedPage::MAX_READ {
                page.incomplete = true;
                return Ok(());
            }
            if !full {
                break;
            }
        }
    }
    Ok(())
}

/// Makes a shared store a store.
#[async_trait]
impl<S: Survey + ?Sized> Survey for Arc<S> {
    async fn namespaces(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>, StoreError> {
        (**self).namespaces(after, limit).await
    }

    async fn undecided(&self, filter: &Undecided) -> Result<UndecidedPage, StoreError> {
        (**self).undecided(filter).await
    }

    async fn by_cause(
        &self,
        query: &CauseQuery,
        after: Option<&Address>,
        limit: u32,
    ) -> Result<CausePage, StoreError> {
        (**self).by_cause(query, after, limit).await
    }
}
