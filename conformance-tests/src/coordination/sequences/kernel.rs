//! Generated sequences that run through the kernel alone: histories for tests of code that reads records and events.

use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestCaseError, TestError, TestRunner};
use sentinel_core::kernel::{self, Op, Reading};
use sentinel_core::operation::Heartbeat;
use sentinel_core::{Address, Event, EventLimit, Namespace, Record, StoreTime, Token};

use super::model::AddressModel;
use super::{seed, times};
use crate::coordination::generate::{self, KeyRef, Passing, Step};

/// The clock reading with which each history begins: in November 2026.
const START: StoreTime = StoreTime::from_micros(1_795_227_373_939_496);

/// A record, its events, and what a reader of both cannot see.
#[derive(Debug, Clone)]
pub struct KernelHistory {
    /// The address.
    pub address: Address,
    /// The record; of an absent address, [`Record::absent`].
    pub record: Record,
    /// The events that are kept, oldest first.
    pub events: Vec<Event>,
    /// The revs that heartbeats drew since the oldest event that is kept.
    pub heartbeats: Vec<u64>,
    /// The clock, never below the record's last reading.
    pub now: StoreTime,
    /// The floor of the namespace.
    pub floor: Token,
}

/// Generates `cases` histories, passes each to `judge` after each of its steps, and panics with the shortest sequence
/// that it refuses. `SENTINEL_SEED` and `SENTINEL_CASES_FACTOR` act as on [`sequences`](super::sequences). Half of the
/// histories keep 8 events at most.
pub fn kernel_histories(cases: u32, judge: impl Fn(&KernelHistory) -> Result<(), String>) {
    let seed = seed();
    let config = Config {
        cases: times(cases),
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::XorShift,
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let histories = (generate::sequences(), any::<bool>());
    let tested = TestRunner::new(config)
        .run(&histories, |(steps, drops)| Play::new(drops).run(&steps, &judge).map_err(TestCaseError::fail));
    match tested {
        Ok(()) => {}
        Err(TestError::Fail(how, (steps, drops))) => {
            let mut text = format!("a history that was refused (seed {seed}, drops events: {drops}):\n");
            for (n, step) in steps.iter().enumerate() {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{:>4}. {step}", n + 1);
            }
            panic!("{text}{how}\n");
        }
        Err(TestError::Abort(reason)) => panic!("the histories were aborted: {reason}"),
    }
}

struct Play {
    addresses: Vec<AddressModel>,
    heartbeats: Vec<Vec<u64>>,
    floor: Token,
    now: StoreTime,
    limit: EventLimit,
}

impl Play {
    fn new(drops: bool) -> Self {
        let namespace = Namespace::new("billing").unwrap_or_else(|invalid| unreachable!("{invalid}"));
        let limit = if drops { EventLimit::new(EventLimit::MIN) } else { Ok(EventLimit::default()) };
        Self {
            addresses: KeyRef::ALL.map(|target| AddressModel::new(&namespace, target)).into(),
            heartbeats: vec![Vec::new(); KeyRef::ALL.len()],
            floor: Token::NONE,
            now: START,
            limit: limit.unwrap_or_default(),
        }
    }

    fn run(
        mut self,
        steps: &[Step],
        judge: &impl Fn(&KernelHistory) -> Result<(), String>,
    ) -> Result<(), String> {
        for step in steps {
            for at in self.step(step) {
                let history = self.history(at);
                judge(&history).map_err(|why| {
                    format!("after the step {step}, at {}: {why}\n{:#?}", history.now, history.record)
                })?;
            }
        }
        Ok(())
    }

    /// Carries a step out. Returns the addresses for which it may have changed something.
    fn step(&mut self, step: &Step) -> Vec<usize> {
        match step {
            Step::Send { target, request } => {
                let at = *target as usize;
                let op = self.addresses[at].resolve(request);
                self.addresses[at].requests.push(op.clone());
                self.send(at, &op);
                vec![at]
            }
            Step::Advance(Passing::By(by)) => {
                self.now = self.now.plus(*by);
                self.all()
            }
            Step::Advance(Passing::To { target, deadline, micros }) => {
                let target = self.addresses[*target as usize].instant(*deadline);
                let target = StoreTime::from_micros(target.as_micros().saturating_add_signed(*micros));
                self.now = self.now.max(target);
                self.all()
            }
            Step::SetBack(by) => {
                self.now = StoreTime::ZERO.plus(self.now.since(StoreTime::ZERO.plus(*by)));
                self.all()
            }
            Step::Beats(beats) => {
                for (target, presented) in beats {
                    let at = *target as usize;
                    let grant = self.addresses[at].grant(*presented);
                    self.send(at, &Op::Heartbeat(Heartbeat { grant }));
                }
                self.all()
            }
            Step::Purge { dry_run: false, .. } => {
                (0..self.addresses.len()).for_each(|at| self.purge(at));
                self.all()
            }
            Step::Purge { .. } | Step::List { .. } => Vec::new(),
        }
    }

    fn all(&self) -> Vec<usize> {
        (0..self.addresses.len()).collect()
    }

    fn send(&mut self, at: usize, op: &Op) {
        let entry = &mut self.addresses[at];
        let reading = Reading { kind: entry.address.kind, now: self.now, floor: self.floor };
        // A request that is refused in every state changes nothing.
        let Ok(done) = op.apply(&mut entry.record, reading) else { return };
        if done.stamped.stamp.changed && done.event.is_none() {
            self.heartbeats[at].push(entry.record.rev);
        }
        entry.events.extend(done.event);
        entry.learn(&done.stamped.reply);
        kernel::trim(&mut entry.events, self.limit);
    }

    fn purge(&mut self, at: usize) {
        let entry = &mut self.addresses[at];
        let Some((token, event)) = kernel::purge(&entry.record, self.now) else { return };
        self.floor = self.floor.max(token);
        entry.record = Record::absent();
        entry.events = vec![event];
        self.heartbeats[at].clear();
    }

    fn history(&self, at: usize) -> KernelHistory {
        let AddressModel { address, record, events, .. } = &self.addresses[at];
        let dropped = events.first().filter(|event| event.base.is_some()).map_or(0, |event| event.rev);
        let kept = self.heartbeats[at].iter().copied().filter(|rev| *rev > dropped);
        KernelHistory {
            address: address.clone(),
            record: record.clone(),
            events: events.clone(),
            heartbeats: kept.collect(),
            now: self.now.max(record.last_now),
            floor: self.floor,
        }
    }
}
