//! What people on call ask of a whole store: which namespaces there are, and what is undecided in any of them.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::address::{Address, Kind, Namespace};
use crate::error::StoreError;
use crate::record::{Record, State};
use crate::store::{CoordinationStore, List, Shown};
use crate::time::StoreTime;

/// Reads over all namespaces of a store. Every method is a pure read: it changes nothing, may be repeated, and sees each
/// record for itself, not all of them at one instant.
#[async_trait]
pub trait Survey: Send + Sync + Debug + 'static {
    /// Namespaces in byte order, after one of them, at most `limit`. A namespace that has records is among them; one whose
    /// records were all purged may be.
    async fn namespaces(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>, StoreError>;

    /// What is uncertain or reconciling, the longest in doubt first.
    async fn undecided(&self, filter: &Undecided) -> Result<UndecidedPage, StoreError>;
}

/// Which undecided executions to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecided {
    /// Of one namespace; None: of all.
    pub namespace: Option<Namespace>,
    /// Only those in doubt for at least so long.
    pub after_age: Duration,
    /// The most executions.
    pub limit: u32,
}

/// What is undecided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndecidedPage {
    /// Addresses and records, the longest in doubt first; the results' bytes are left out.
    pub records: Vec<(Address, Record)>,
    /// The store's reading.
    pub now: StoreTime,
    /// More than [`MAX_READ`](Self::MAX_READ) executions are undecided: older ones may be missing here.
    pub incomplete: bool,
}

impl UndecidedPage {
    /// The most undecided executions that one page is chosen from.
    pub const MAX_READ: usize = 10_000;
}

/// Since when an execution is in doubt: the end of its lease, or the moment when an operator took it, if that came before.
/// That an operator took it, or that another took it from them, does not make the doubt younger.
pub fn in_doubt_since(record: &Record) -> StoreTime {
    match (record.state, &record.decision) {
        (State::Reconciling, Some(decision)) => decision.at.min(record.lease_until),
        _ => record.lease_until,
    }
}

/// [`Survey::undecided`] by [`CoordinationStore::list`], for a store whose lists of one state read that state only.
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
    for state in [Shown::Uncertain, Shown::Reconciling] {
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

/// A shared store is a store.
#[async_trait]
impl<S: Survey + ?Sized> Survey for Arc<S> {
    async fn namespaces(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>, StoreError> {
        (**self).namespaces(after, limit).await
    }

    async fn undecided(&self, filter: &Undecided) -> Result<UndecidedPage, StoreError> {
        (**self).undecided(filter).await
    }
}
