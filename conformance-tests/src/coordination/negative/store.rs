//! The kernel in memory, with one thing wrong.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sentinel_core::kernel::{self, Op, Reading, Reply};
use sentinel_core::operation::*;
use sentinel_core::store::{Description, Health, Inspection, List, Listing, Notice, Purge, Purged};
use sentinel_core::{
    Address, Cause, Clock, CoordinationStore, ErrorKind, Event, EventLimit, Key, Kind, ManualClock,
    Namespace, Record, StoreError, StoreTime, Survey, Token,
};

use super::mutation::{Mutation, StorageFault};
use crate::coordination::harness::DynHarness;

#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) entries: BTreeMap<Address, (Record, Vec<Event>)>,
    pub(super) floors: HashMap<Namespace, Token>,
    /// What a dry run found, for a store that relies on it later.
    pub(super) found: BTreeSet<Address>,
    /// The index of causes.
    pub(super) caused: BTreeMap<Address, Cause>,
}

/// A store that a [`Mutation`] broke, or a whole one.
#[derive(Debug, Clone)]
pub struct FlawedStore {
    pub(super) mutation: Mutation,
    rows: Arc<Mutex<Rows>>,
    pub(super) clock: Arc<dyn Clock>,
    /// The same clock, if only the test moves it.
    hand: Arc<ManualClock>,
    /// The store with its layer, which all handles share: the state of the layer is a part of the store.
    layered: Arc<OnceLock<Arc<dyn CoordinationStore>>>,
}

impl FlawedStore {
    /// An empty store with one rule taken away; with all of them, for none.
    pub fn new(mutation: Option<Mutation>) -> Self {
        let mutation = mutation.unwrap_or(const { Mutation::new("whole", "none") });
        let start = StoreTime::from_micros(1_800_000_000_000_000);
        let hand = Arc::new(ManualClock::new(start));
        Self { mutation, rows: Arc::default(), clock: hand.clone(), hand, layered: Arc::default() }
    }

    /// The same on a clock of your own, which [`DynHarness::advance`] does not move.
    pub fn on_clock(mutation: Mutation, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..Self::new(Some(mutation)) }
    }

    /// The same store on the same clock, without its records.
    pub(super) fn emptied(&self) -> Self {
        Self { rows: Arc::default(), layered: Arc::default(), ..self.clone() }
    }

    pub(super) fn is(&self, flaw: StorageFault) -> bool {
        self.mutation.flaw == Some(flaw)
    }

    pub(super) fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The row that an address is stored under.
    fn place(&self, address: &Address) -> Address {
        let mut place = address.clone();
        let key = address.key.as_str();
        if self.is(StorageFault::KindsShareARecord) {
            place.kind = Kind::Execution;
        }
        if self.is(StorageFault::NamespaceAndKeyAreJoined) {
            place.namespace = Namespace::new("joined").expect("a namespace");
            place.key = Key::new(format!("{}.{key}", address.namespace)).unwrap_or(place.key);
        }
        if self.is(StorageFault::KeysAreFolded) {
            place.key = Key::new(key.to_lowercase()).unwrap_or(place.key);
        }
        if self.is(StorageFault::KeysAreCut) {
            place.key = Key::new(key.chars().take(255).collect::<String>()).expect("a shorter key");
        }
        place
    }

    async fn transition(&self, address: &Address, op: impl Into<Op>) -> Result<Stamped<Reply>, StoreError> {
        let (op, place) = (op.into(), self.place(address));
        let (mut record, reading) = {
            let rows = self.rows();
            let record = rows.entries.get(&place).map_or_else(Record::absent, |(record, _)| record.clone());
            let floor = rows.floors.get(&address.namespace).copied().unwrap_or_default();
            (record, Reading { kind: address.kind, now: self.clock.now(), floor })
        };
        let rows = match self.is(StorageFault::NotAtomic) {
            true => {
                tokio::task::yield_now().await;
                self.rows()
            }
            false => {
                // Nothing was awaited, yet another thread may have changed the record: read again, under the lock.
                let rows = self.rows();
                record = rows.entries.get(&place).map_or_else(Record::absent, |(record, _)| record.clone());
                rows
            }
        };
        self.write(rows, place, record, &op, reading)
    }

    fn write(
        &self,
        mut rows: MutexGuard<'_, Rows>,
        place: Address,
        mut record: Record,
        op: &Op,
        mut at: Reading,
    ) -> Result<Stamped<Reply>, StoreError> {
        if !self.is(StorageFault::NotAtomic) {
            at.floor = rows.floors.get(&place.namespace).copied().unwrap_or_default();
        }
        if self.is(StorageFault::ClockOfItsOwn) {
            record.last_now = StoreTime::ZERO;
        }
        let drawn = record.token.get().max(at.floor.get()).max(at.now.as_micros()) + 1;
        if drawn >= Token::MAX.get() && !self.is(StorageFault::TokensNeverEnd) {
            return Err(StoreError::not_applied(ErrorKind::InvalidRequest, "no token is left"));
        }
        let outcome = self.mutation.apply(&mut record, op, at)?;
        self.index_cause(&mut rows, &place, &mut record, op, outcome.stamped.stamp.changed);
        let logged = self.log(&record, op, &outcome);
        if outcome.stamped.stamp.changed
            || !logged.is_empty()
            || self.is(StorageFault::RefusedClaimsSetTheCause)
        {
            let entry = rows.entries.entry(place).or_insert_with(|| (Record::absent(), Vec::new()));
            entry.0 = record;
            entry.1.extend(logged);
            self.trim(&entry.0, &mut entry.1);
        }
        Ok(outcome.stamped)
    }

    /// Drops the oldest events.
    fn trim(&self, record: &Record, events: &mut Vec<Event>) {
        let limit = match self.mutation.flaw {
            Some(StorageFault::EventsAreNeverTrimmed) => return,
            Some(StorageFault::EventsAreTrimmedEarly) => EventLimit::new(700).expect("a limit"),
            _ => EventLimit::default(),
        };
        let dropped = kernel::trim(events, limit);
        let (Some(oldest), true) = (events.first_mut(), dropped > 0) else { return };
        match self.mutation.flaw {
            Some(StorageFault::EventsAreTrimmedWithoutABase) => oldest.base = None,
            Some(StorageFault::TheBaseIsThePresent) => {
                oldest.base = Some(Box::new(kernel::Rebuilt::from(record)))
            }
            Some(StorageFault::HalfOfTheEventsAreKept) => {
                kernel::trim(events, EventLimit::new(667).expect("a limit"));
            }
            _ => {}
        }
    }

    fn log(&self, record: &Record, op: &Op, outcome: &kernel::Transition<Reply>) -> Vec<Event> {
        let extra = Event {
            rev: record.rev,
            change: sentinel_core::Change::Begun,
            from: Some(record.state),
            to: Some(record.state),
            token: record.token,
            claim_id: record.claim_id,
            op_id: None,
            worker: None,
            operator: None,
            reason: None,
            base: None,
            at: outcome.stamped.stamp.now,
        };
        let is_beat = matches!(op, Op::Heartbeat(_));
        match (&outcome.event, self.mutation.flaw) {
            (Some(_), Some(StorageFault::EventsAreForgotten)) => Vec::new(),
            (Some(event), Some(StorageFault::EventsAreDoubled)) => vec![event.clone(); 2],
            (None, Some(StorageFault::HeartbeatsAreLogged)) if is_beat => vec![extra],
            (None, Some(StorageFault::RefusalsAreLogged)) if !is_beat && !record.is_absent() => vec![extra],
            (event, _) => event.iter().cloned().collect(),
        }
    }
}

#[async_trait]
impl DynHarness for FlawedStore {
    fn store(&self) -> Arc<dyn CoordinationStore> {
        let whole = || Arc::new(Self { layered: Arc::default(), ..self.clone() });
        Arc::clone(self.layered.get_or_init(|| self.mutation.over(whole())))
    }

    async fn another(&self) -> Option<Arc<dyn CoordinationStore>> {
        Some(DynHarness::store(self))
    }

    fn survey(&self) -> Option<Arc<dyn Survey>> {
        Some(Arc::new(self.clone()))
    }

    async fn reopen(&self) -> bool {
        true
    }

    async fn advance(&self, by: Duration) {
        self.hand.advance(by);
    }

    async fn set_back(&self, by: Duration) -> bool {
        let back = u64::try_from(by.as_micros()).expect("not before 1970");
        self.hand.set(StoreTime::from_micros(self.hand.now().as_micros() - back));
        true
    }
}

macro_rules! transitions {
    ([] $($method:ident, $op:ident, $reply:ident;)*) => {
        #[async_trait]
        impl CoordinationStore for FlawedStore {
            $(async fn $method(&self, address: &Address, op: &$op) -> Result<Stamped<$reply>, StoreError> {
                let stamped = self.transition(address, op.clone()).await?;
                let Reply::$op(reply) = stamped.reply else { unreachable!("each operation has its reply") };
                Ok(Stamped { reply, stamp: stamped.stamp })
            })*

            fn describe(&self) -> Description {
                Description { backend: "broken", in_process: true }
            }

            async fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
                let mut beats = beats.to_vec();
                if self.is(StorageFault::BatchIsSorted) {
                    beats.sort_by(|a, b| a.address.cmp(&b.address));
                }
                let mut replies: Vec<Stamped<HeartbeatReply>> = Vec::new();
                for beat in beats {
                    let stops = self.is(StorageFault::BatchStopsAtALoss)
                        && replies.iter().any(|reply| matches!(reply.reply, HeartbeatReply::Lost(_)));
                    let stamped = match replies.last() {
                        Some(last) if stops => last.clone(),
                        _ => {
                            let stamped = self.transition(&beat.address, Heartbeat { grant: beat.grant }).await?;
                            let Reply::Heartbeat(reply) = stamped.reply else { unreachable!("a heartbeat's") };
                            Stamped { reply, stamp: stamped.stamp }
                        }
                    };
                    replies.push(stamped);
                }
                Ok(replies)
            }

            async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
                self.purge_rows(purge).await
            }

            async fn inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
                let (mut rows, now) = (self.rows(), self.clock.now());
                let entry = rows.entries.get_mut(&self.place(address));
                let record = entry.map(|(record, _)| record).filter(|record| !record.is_absent());
                let last = record.as_ref().map(|record| record.last_now).unwrap_or_default();
                let record = record.map(|record| {
                    if self.is(StorageFault::ReadsSweep) && record.is_uncertain(now) {
                        record.rev += 1;
                    }
                    record.clone()
                });
                Ok(Inspection { record, now: now.max(last) })
            }

            async fn list(&self, list: &List) -> Result<Listing, StoreError> {
                let (rows, now) = (self.rows(), self.clock.now());
                let mut list = list.clone();
                if self.is(StorageFault::PagesIgnoreAfter) {
                    list.after = None;
                }
                if self.is(StorageFault::PagesIgnoreTheirLimit) {
                    list.limit = List::MAX;
                }
                let at = |r: &Record| match self.mutation.flaw {
                    Some(StorageFault::PagesListUncertainAsExecuting) => StoreTime::ZERO,
                    Some(StorageFault::PagesAreNotLifted) => now,
                    _ => now.max(r.last_now),
                };
                let wants = |r: &Record| {
                    list.wants(r, at(r)) || (self.is(StorageFault::PagesShowTombstones) && list.state.is_none())
                };
                let mut records: Vec<_> = rows.entries.iter()
                    .filter(|(a, (r, _))| {
                        a.namespace == list.namespace && a.kind == list.kind && !r.is_absent() && wants(r)
                    })
                    .filter(|(a, _)| list.after.as_ref().is_none_or(|after| a.key > *after))
                    .map(|(a, (r, _))| (a.key.clone(), r.clone()))
                    .collect();
                if self.is(StorageFault::PagesAreUnordered) {
                    records.sort_by_key(|(key, _)| (key.as_str().to_lowercase(), key.clone()));
                }
                records.truncate(list.limit.clamp(1, List::MAX) as usize);
                if !self.is(StorageFault::PagesCarryBytes) {
                    let results = records.iter_mut().filter_map(|(_, record)| record.result.as_mut());
                    results.for_each(|result| result.payload.bytes = Default::default());
                }
                Ok(Listing { records, now })
            }

            async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
                let rows = self.rows();
                let events = rows.entries.get(&self.place(address)).map(|(_, events)| events.as_slice());
                let (events, limit) = (events.unwrap_or_default(), limit as usize);
                let newest = &events[events.len().saturating_sub(limit)..];
                Ok(match self.mutation.flaw {
                    Some(StorageFault::HistoryIsTheOldest) => events[..events.len().min(limit)].to_vec(),
                    Some(StorageFault::HistoryIsNewestFirst) => newest.iter().rev().cloned().collect(),
                    _ => newest.to_vec(),
                })
            }

            async fn changed(&self, address: &Address, within: Duration) -> Notice {
                if self.is(StorageFault::WaitsForAChange) {
                    std::future::pending::<()>().await;
                }
                if self.is(StorageFault::WaitsSweep)
                    && let Some((record, _)) = self.rows().entries.get_mut(&self.place(address))
                {
                    record.rev += 1;
                }
                tokio::time::sleep(within).await;
                Notice::Polling
            }

            async fn health(&self) -> Result<Health, StoreError> {
                let guarantees = vec!["None: this store is a negative control.".into()];
                Ok(Health { deployment: "broken".into(), checks: Vec::new(), guarantees, accepted: true })
            }
        }
    };
}

sentinel_core::for_each_operation!(transitions []);
