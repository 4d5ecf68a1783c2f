//! Pages and histories, with one flaw each.

use std::sync::Arc;

use async_trait::async_trait;
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::store::{List, Listing, VisibleState};
use sentinel_core::{
    Address, CoordinationStore, DecisionKind, Event, Key, Kind, Layer, Layered, Record, State, StoreError,
};

use super::mutation::{Mutation, StorageFault};

/// What is wrong with a page.
#[derive(Debug, Clone, Copy)]
enum Fault {
    EndsAt(u32),
    FiltersOnly(usize),
    FiltersTimes(usize),
    AfterByCollation,
    AfterByUtf16,
    AfterMustExist,
    AfterIsCut,
    CountsBothKinds,
    MatchesAfter,
    Drops(fn(&mut Record)),
    HistoryOfBothKinds,
    HistoryByPrefix,
    FirstPageOnly,
    FilterIgnoresAfter,
    Hides(fn(&Record) -> bool),
}

#[derive(Debug)]
struct Pages(Arc<dyn CoordinationStore>, Fault);

impl Pages {
    /// All keys and records of a namespace and kind, tombstones too.
    async fn all(&self, list: &List) -> Result<Listing, StoreError> {
        let mut records = Vec::new();
        for state in [None, Some(VisibleState::Free)] {
            let mut after = None;
            loop {
                let page = self.0.list(&List { state, after, limit: List::MAX, ..list.clone() }).await?;
                after = page.records.last().map(|(key, _)| key.clone());
                records.extend(page.records);
                if after.is_none() {
                    break;
                }
            }
        }
        records.sort_by(|(a, _), (b, _)| a.cmp(b));
        let now = self.0.list(list).await?.now;
        Ok(Listing { records, now })
    }

    /// The page that a store makes which reads some rows first, and then drops what is not wanted.
    async fn filtered(&self, list: &List, rows: usize) -> Result<Listing, StoreError> {
        let Listing { mut records, now } = self.all(list).await?;
        records.retain(|(key, _)| list.after.as_ref().is_none_or(|after| key > after));
        records.truncate(rows);
        records.retain(|(_, record)| list.wants(record, now));
        records.truncate(list.limit as usize);
        Ok(Listing { records, now })
    }

    /// The page after a key, compared in another way.
    async fn behind(
        &self,
        list: &List,
        is_behind: impl Fn(&Key) -> bool + Send,
    ) -> Result<Listing, StoreError> {
        let Listing { mut records, now } = self.all(list).await?;
        records.retain(|(key, record)| is_behind(key) && list.wants(record, now));
        records.truncate(list.limit as usize);
        Ok(Listing { records, now })
    }
}

#[async_trait]
impl Layer for Pages {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.0
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        op.send(&*self.0, address).await
    }

    async fn on_heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        self.0.heartbeat(beats).await
    }

    async fn on_list(&self, list: &List) -> Result<Listing, StoreError> {
        let Some(after) = &list.after else {
            return match self.1 {
                Fault::EndsAt(limit) => {
                    self.0.list(&List { limit: limit.min(list.limit), ..list.clone() }).await
                }
                Fault::FiltersOnly(rows) => self.filtered(list, rows).await,
                Fault::FiltersTimes(times) => self.filtered(list, list.limit as usize * times).await,
                Fault::CountsBothKinds => {
                    let other = if list.kind == Kind::Lease { Kind::Execution } else { Kind::Lease };
                    let mut page = self.0.list(list).await?;
                    let others = self.0.list(&List { kind: other, ..list.clone() }).await?;
                    let last = page.records.len().saturating_sub(
                        others.records.len().saturating_sub(list.limit as usize - page.records.len()),
                    );
                    page.records.truncate(last);
                    Ok(page)
                }
                Fault::Hides(hides) => {
                    let mut page = self.0.list(list).await?;
                    page.records.retain(|(_, record)| list.state.is_none() || !hides(record));
                    Ok(page)
                }
                Fault::Drops(drops) => {
                    let mut page = self.0.list(list).await?;
                    page.records.iter_mut().for_each(|(_, record)| drops(record));
                    Ok(page)
                }
                _ => self.0.list(list).await,
            };
        };
        let text = after.as_str();
        match self.1 {
            Fault::AfterByCollation => {
                let order = |key: &str| (key.to_lowercase(), key.to_owned());
                self.behind(list, |key| order(key.as_str()) > order(text)).await
            }
            Fault::AfterByUtf16 => {
                let order = |key: &str| key.encode_utf16().collect::<Vec<_>>();
                self.behind(list, |key| order(key.as_str()) > order(text)).await
            }
            Fault::AfterMustExist => {
                let records = self.all(list).await?.records;
                if records.iter().any(|(key, _)| key == after) {
                    return self.0.list(list).await;
                }
                self.0.list(&List { after: None, ..list.clone() }).await
            }
            Fault::AfterIsCut => {
                let text = &text[..text.floor_char_boundary(255)];
                self.0.list(&List { after: Key::new(text).ok(), ..list.clone() }).await
            }
            Fault::FilterIgnoresAfter if list.state.is_some() => {
                self.0.list(&List { after: None, ..list.clone() }).await
            }
            Fault::MatchesAfter => {
                self.behind(list, |key| key > after && !key.as_str().starts_with(text)).await
            }
            Fault::FirstPageOnly => {
                let now = self.0.list(list).await?.now;
                let at_start = self.all(list).await?.records.iter().take(1_000).any(|(key, _)| key == after);
                if at_start { self.0.list(list).await } else { Ok(Listing { records: Vec::new(), now }) }
            }
            _ => self.0.list(list).await,
        }
    }

    async fn on_history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        let own = self.0.history(address, u32::MAX).await?;
        let others = match self.1 {
            Fault::HistoryOfBothKinds => {
                let kind = if address.kind == Kind::Lease { Kind::Execution } else { Kind::Lease };
                self.0.history(&Address { kind, ..address.clone() }, u32::MAX).await?.len()
            }
            Fault::HistoryByPrefix => {
                let list = List {
                    namespace: address.namespace.clone(),
                    kind: address.kind,
                    state: None,
                    after: Some(address.key.clone()),
                    limit: List::MAX,
                };
                let page = self.0.list(&list).await?.records;
                page.iter().filter(|(key, _)| key.as_str().starts_with(address.key.as_str())).count()
            }
            _ => 0,
        };
        // The newest of all of them are the others' as often as this address' own.
        let limit = (limit as usize).saturating_sub(others.min(limit as usize / 2));
        Ok(own[own.len().saturating_sub(limit)..].to_vec())
    }
}

pub(super) fn all() -> Vec<Mutation> {
    macro_rules! controls {
        ($($name:literal: $fault:expr;)*) => {
            vec![$(Mutation::new($name, "spec §3, inspect, list, history")
                .layer(|store| Arc::new(Layered(Pages(store, $fault)))),)*]
        };
    }
    let mut all = controls! {
        "lists 100 records at most": Fault::EndsAt(100);
        "lists 999 records at most": Fault::EndsAt(999);
        "filters the first 1,000 rows": Fault::FiltersOnly(1_000);
        "reads ten rows for each requested one": Fault::FiltersTimes(10);
        "reads 1,000 rows for each requested one": Fault::FiltersTimes(1_000);
        "counts both kinds against the limit of a page": Fault::CountsBothKinds;
        "begins a page by a collation": Fault::AfterByCollation;
        "begins a page by UTF-16": Fault::AfterByUtf16;
        "starts a page at the beginning if its start is no key": Fault::AfterMustExist;
        "cuts the start of a page at 255 bytes": Fault::AfterIsCut;
        "begins filtered pages at the start": Fault::FilterIgnoresAfter;
        "leaves out keys that begin with the start of a page": Fault::MatchesAfter;
        "reads no page behind the first 1,000 keys": Fault::FirstPageOnly;
        "lists records without their decisions": Fault::Drops(|record| record.decision = None);
        "lists records without their claim ids": Fault::Drops(|record| record.past_claims = Default::default());
        "lists records without their codes": Fault::Drops(|record| {
            record.result.iter_mut().for_each(|result| result.code = None);
        });
        "lists records without their cause of uncertainty": Fault::Drops(|record| record.doubt = None);
        "has evicted keys on no page": Fault::Hides(|record| {
            record.decision.as_ref().is_some_and(|decision| decision.kind == DecisionKind::Evict)
        });
        "has runs that were revived on no page": Fault::Hides(|record| {
            record.state == State::Executing && record.claimed_at.is_some_and(|at| {
                record.terms.is_some_and(|terms| record.lease_until > at.plus(terms.ttl()))
            })
        });
        "counts the events of both kinds against a limit": Fault::HistoryOfBothKinds;
        "counts the events of longer keys against a limit": Fault::HistoryByPrefix;
    };
    all.push(
        Mutation::new("lists by a clock that was set back", "spec §2, store now")
            .flaw(StorageFault::PagesAreNotLifted),
    );
    all
}
