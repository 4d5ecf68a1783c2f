//! The entries of the cache, by address, bounded in number and in bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::RandomState;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use sentinel_core::internal::whole;
use sentinel_core::operation::{Claim, ClaimReply, Stamp, Stamped};
use sentinel_core::{Address, Fingerprint, Grant, RecordedResult};

use super::limits::ReplayLimits;
use super::timer::{Moment, Timer};

/// The approximate cost of an entry in bytes, besides its texts and payload.
const OVERHEAD: usize = 400;
/// An entry lives one part in a thousand less than its retention: clocks of two hosts drift apart, and each is slewed
/// by up to 500 parts in a million.
const DRIFT: u32 = 1_000;

/// What this process knows about a record.
#[derive(Debug)]
pub(super) enum Known {
    /// A claim of this process was granted; these are the terms under which its result will be kept.
    Running(Running),
    /// The execution is completed.
    Done(Done),
}

#[derive(Debug)]
pub(super) struct Running {
    grant: Grant,
    retention: Option<Duration>,
    fingerprint: Option<Fingerprint>,
}

impl Running {
    pub(super) fn new(grant: Grant, claim: &Claim) -> Self {
        Self { grant, retention: claim.retention.map(whole), fingerprint: claim.fingerprint.clone() }
    }

    /// The entry of the completed record, if this grant has just completed it.
    pub(super) fn done(
        &self,
        grant: &Grant,
        sent: Moment,
        stamp: Stamp,
        result: &RecordedResult,
    ) -> Option<Done> {
        let admits = match &self.fingerprint {
            Some(theirs) => Admits::NoneOr(Some(theirs.clone())),
            None => Admits::Any,
        };
        (self.grant == *grant).then(|| Done::new(admits, sent, stamp, result, self.retention))
    }
}

/// The claims that can be answered with a result: those that the record's fingerprint, as far as it is known, does not
/// refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Admits {
    /// The record has no fingerprint.
    Any,
    /// The record has this fingerprint or none; None: nothing is known about it. A claim without a fingerprint is
    /// answered.
    NoneOr(Option<Fingerprint>),
}

impl Admits {
    fn admits(&self, asked: Option<&Fingerprint>) -> bool {
        match (self, asked) {
            (Self::Any, _) | (_, None) => true,
            (Self::NoneOr(theirs), Some(ours)) => theirs.as_ref() == Some(ours),
        }
    }

    /// Combines what two answers showed about the same record.
    fn and(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => Self::Any,
            // Claims with two different fingerprints were both answered: the record has none.
            (Self::NoneOr(Some(one)), Self::NoneOr(Some(two))) if one != *two => Self::Any,
            (Self::NoneOr(one), Self::NoneOr(two)) => Self::NoneOr(one.or_else(|| two.clone())),
        }
    }
}

/// The result of a completed record, as the store returned it.
#[derive(Debug)]
pub(super) struct Done {
    admits: Admits,
    /// Taken before the request that returned the result was sent.
    sent: Moment,
    stamp: Stamp,
    result: RecordedResult,
    /// What remained of the retention at the stamp's reading; None: kept without limit.
    remaining: Option<Duration>,
    /// How long after `sent` the entry is used: no longer than what remained.
    life: Duration,
}

impl Done {
    pub(super) fn new(
        admits: Admits,
        sent: Moment,
        stamp: Stamp,
        result: &RecordedResult,
        remaining: Option<Duration>,
    ) -> Self {
        let mut result = result.clone();
        // The bytes may be a slice of a larger buffer of the connection, and would keep all of it allocated.
        result.payload.bytes = Bytes::copy_from_slice(&result.payload.bytes);
        let life = remaining.map_or(Duration::MAX, |left| left - left / DRIFT);
        Self { admits, sent, stamp: Stamp { changed: false, ..stamp }, result, remaining, life }
    }

    /// The store's answer to a claim now, if it is certain. The stamp's reading is what the store's clock shows now or
    /// a little later, never earlier.
    pub(super) fn answer(&self, claim: &Claim, timer: &Timer) -> Option<Stamped<ClaimReply>> {
        if !self.admits.admits(claim.fingerprint.as_ref()) {
            return None;
        }
        let now = if self.remaining.is_some() { timer.now() } else { timer.glance() };
        let age = now.age_of(&self.sent);
        if age >= self.life {
            return None;
        }
        let remaining = self.remaining.map(|left| left - age);
        let stamp = Stamp { now: self.stamp.now.plus(age), ..self.stamp };
        Some(Stamped { reply: ClaimReply::Completed { result: self.result.clone(), remaining }, stamp })
    }

    /// The bytes that the entry keeps.
    fn size(&self) -> usize {
        let fingerprint = match &self.admits {
            Admits::NoneOr(Some(fingerprint)) => fingerprint.as_str().len(),
            Admits::NoneOr(None) | Admits::Any => 0,
        };
        let payload = &self.result.payload;
        payload.bytes.len() + payload.content_type.as_str().len() + fingerprint
    }
}

/// The weight of an entry is its size in bytes, and at least its share of all bytes. So one bound on the weight
/// enforces both limits.
#[derive(Debug, Clone)]
struct Weight {
    least: u64,
}

impl Weighter<Address, Arc<Known>> for Weight {
    fn weight(&self, address: &Address, known: &Arc<Known>) -> u64 {
        let size = match &**known {
            Known::Running(running) => running.fingerprint.as_ref().map_or(0, |text| text.as_str().len()),
            Known::Done(done) => done.size(),
        };
        self.least.max((OVERHEAD + address.key.as_str().len() + size) as u64)
    }
}

/// A map that evicts the entries that are requested least.
pub(super) struct Shelf {
    known: Cache<Address, Arc<Known>, Weight, RandomState>,
    largest: usize,
}

impl Shelf {
    pub(super) fn new(limits: ReplayLimits) -> Self {
        let ReplayLimits { entries, bytes, largest } = limits;
        // More entries than this do not fit. The map also keeps marks of evicted entries, for half of the capacity that
        // it is given.
        let entries = entries.min(bytes / OVERHEAD);
        // Each shard has its own part of both limits. If the parts would be small, there are fewer shards.
        let mut shards = 16;
        while shards > 1 && (entries / shards < 64 || bytes / shards < largest.saturating_mul(4)) {
            shards /= 2;
        }
        let (entries, bytes) = (entries / shards, bytes / shards);
        let least = if entries == 0 { u64::MAX } else { bytes.div_ceil(entries) as u64 };
        let options = OptionsBuilder::new()
            .shards(shards)
            .estimated_items_capacity(entries * shards)
            .weight_capacity((bytes * shards) as u64)
            .build()
            .expect("both capacities are given");
        let (hasher, lifecycle) = (RandomState::default(), DefaultLifecycle::default());
        Self { known: Cache::with_options(options, Weight { least }, hasher, lifecycle), largest }
    }

    /// What is known about a record.
    pub(super) fn get(&self, address: &Address) -> Option<Arc<Known>> {
        self.known.get(address)
    }

    /// A claim of this process was granted: earlier knowledge about the record is obsolete.
    pub(super) fn running(&self, address: &Address, running: Running) {
        self.known.insert(address.clone(), Arc::new(Known::Running(running)));
    }

    /// The store returned a result, or acknowledged one of this process.
    pub(super) fn done(&self, address: &Address, mut done: Done) {
        match self.known.peek(address).as_deref() {
            // The answer is late: the record has changed since.
            Some(Known::Running(newer)) if newer.grant.token > done.stamp.token => return,
            Some(Known::Done(newer)) if newer.stamp.token > done.stamp.token => return,
            Some(Known::Done(same)) if same.stamp.token == done.stamp.token => {
                done.admits = done.admits.and(&same.admits);
            }
            _ => {}
        }
        if done.result.payload.bytes.len() > self.largest {
            self.known.remove(address);
        } else {
            self.known.insert(address.clone(), Arc::new(Known::Done(done)));
        }
    }

    /// The store returned that a record is not completed.
    pub(super) fn not_done(&self, address: &Address) {
        if matches!(self.known.peek(address).as_deref(), Some(Known::Done(_))) {
            self.known.remove_if(address, |known| matches!(**known, Known::Done(_)));
        }
    }

    pub(super) fn clear(&self) {
        self.known.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.known.weight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knowledge_about_a_fingerprint_is_combined() {
        let text = |text| Some(Fingerprint::new(text).unwrap());
        let (nothing, a, b) = (Admits::NoneOr(None), Admits::NoneOr(text("a")), Admits::NoneOr(text("b")));
        for (one, two, both) in [
            (&nothing, &nothing, &nothing),
            (&nothing, &a, &a),
            (&a, &nothing, &a),
            (&a, &a, &a),
            (&a, &b, &Admits::Any),
            (&Admits::Any, &a, &Admits::Any),
            (&nothing, &Admits::Any, &Admits::Any),
        ] {
            assert_eq!(one.clone().and(two), *both, "{one:?} and {two:?}");
        }
    }
}
