//! A key whose history a test makes step by step, with the kernel.

use std::time::Duration;

use sentinel_admin::why::{Facts, layout, why};
use sentinel_core::kernel::{self, Op, Reading, Reply};
use sentinel_core::operation::*;
use sentinel_core::{
    Accepts, Address, ClaimId, Event, EventLimit, Grant, Key, Kind, Label, Namespace, OpId, Payload, Record,
    RecordedResult, StoreTime, Terms, Token,
};

/// 2026-11-21 02:16:10 UTC.
const START: StoreTime = StoreTime::from_micros(1_795_227_370_000_000);

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A key, and the clock of its store.
pub(crate) struct Scene {
    pub(crate) address: Address,
    pub(crate) record: Record,
    pub(crate) events: Vec<Event>,
    pub(crate) now: StoreTime,
    pub(crate) terms: Terms,
    pub(crate) retention: Option<Duration>,
    pub(crate) accepts: Accepts,
    floor: Token,
    drawn: u128,
}

impl Scene {
    /// An execution with a ttl of 3 s, a hard ttl of 1 h, and late effects of 10 s.
    pub(crate) fn new() -> Self {
        Self::of(Kind::Execution, "order-42")
    }

    pub(crate) fn lease() -> Self {
        Self::of(Kind::Lease, "nightly-report")
    }

    fn of(kind: Kind, key: &str) -> Self {
        let terms = Terms::new(secs(3), secs(3600)).unwrap().with_late_effects(secs(10)).unwrap();
        Self {
            address: Address {
                namespace: Namespace::new("billing").unwrap(),
                kind,
                key: Key::new(key).unwrap(),
            },
            record: Record::absent(),
            events: Vec::new(),
            now: START,
            terms,
            retention: None,
            accepts: Accepts::any(),
            floor: Token::NONE,
            drawn: 0,
        }
    }

    pub(crate) fn wait(&mut self, time: Duration) -> &mut Self {
        self.now = self.now.plus(time);
        self
    }

    /// Applies an operation that the kernel must accept.
    #[track_caller]
    fn apply(&mut self, op: impl Into<Op>) -> Reply {
        let op = op.into();
        let reading = Reading { kind: self.address.kind, now: self.now, floor: self.floor };
        let done = op.apply(&mut self.record, reading).unwrap();
        assert!(done.stamped.stamp.changed, "{op:?} was refused: {:?}", done.stamped.reply);
        self.events.extend(done.event);
        done.stamped.reply
    }

    fn draw(&mut self) -> u128 {
        self.drawn += 1;
        self.drawn
    }

    fn claim(&mut self, worker: &str, phase: Phase) -> Grant {
        let claim_id = ClaimId::from_bits(self.draw());
        let claim = Claim {
            claim_id,
            terms: self.terms,
            retention: self.retention,
            fingerprint: None,
            accepts: self.accepts.clone(),
            worker: Label::lossy(worker),
            phase,
            cause: None,
            about: None,
        };
        self.apply(claim);
        Grant { token: self.record.token, claim_id }
    }

    /// Claims without beginning; of a lease, takes it.
    pub(crate) fn claims(&mut self, worker: &str) -> Grant {
        self.claim(worker, Phase::Claimed)
    }

    /// Claims and begins at once.
    pub(crate) fn runs(&mut self, worker: &str) -> Grant {
        self.claim(worker, Phase::Executing)
    }

    pub(crate) fn begins(&mut self, grant: Grant) -> &mut Self {
        self.apply(Begin { grant });
        self
    }

    /// Sends heartbeats a second apart.
    pub(crate) fn beats(&mut self, grant: Grant, count: u32) -> &mut Self {
        for _ in 0..count {
            self.wait(secs(1)).apply(Heartbeat { grant });
        }
        self
    }

    pub(crate) fn completes(&mut self, grant: Grant, text: &'static str) -> &mut Self {
        let result = RecordedResult::success(Payload::new("text/plain; charset=utf-8", text));
        self.records(grant, result)
    }

    pub(crate) fn records(&mut self, grant: Grant, result: RecordedResult) -> &mut Self {
        self.apply(Complete { grant, result });
        self
    }

    pub(crate) fn cancels(&mut self, claim_id: ClaimId) -> &mut Self {
        self.apply(Cancel { claim_id });
        self
    }

    pub(crate) fn releases(&mut self, grant: Grant, vouched: bool) -> &mut Self {
        self.apply(Release { grant, vouched });
        self
    }

    pub(crate) fn abandons(&mut self, grant: Grant, cause: &str, late_effects: Duration) -> &mut Self {
        self.apply(Abandon { grant, cause: Label::lossy(cause), late_effects });
        self
    }

    /// Takes the key, however that is possible.
    pub(crate) fn takes(&mut self, operator: &str, reason: Option<&str>) -> &mut Self {
        let op_id = OpId::from_bits(self.draw());
        let (operator, reason) = (Label::lossy(operator), reason.map(Label::lossy));
        let expect = self.record.token;
        self.apply(Reconcile { op_id, operator, reason, expect, even_if_alive: true, steal: true });
        self
    }

    pub(crate) fn forces(&mut self, operator: &str, result: RecordedResult) -> &mut Self {
        let op_id = OpId::from_bits(self.draw());
        let (token, operator) = (self.record.token, Label::lossy(operator));
        self.apply(ForceComplete { op_id, token, operator, reason: None, result, as_is: false });
        self
    }

    pub(crate) fn resets(&mut self, operator: &str, accept_overlap: bool) -> &mut Self {
        let op_id = OpId::from_bits(self.draw());
        let (token, operator) = (self.record.token, Label::lossy(operator));
        let reason = Some(Label::lossy("the provider has no such request"));
        self.apply(ResetToClaimed { op_id, token, operator, reason, accept_overlap });
        self
    }

    pub(crate) fn evicts(&mut self, operator: &str, reason: &str) -> &mut Self {
        let op_id = OpId::from_bits(self.draw());
        let (operator, reason, expect) =
            (Label::lossy(operator), Some(Label::lossy(reason)), self.record.token);
        self.apply(Evict { op_id, operator, reason, expect });
        self
    }

    pub(crate) fn purges(&mut self) -> &mut Self {
        let (token, event) = kernel::purge(&self.record, self.now).unwrap();
        self.floor = self.floor.max(token);
        (self.record, self.events) = (Record::absent(), vec![event]);
        self
    }

    /// Drops the oldest events, as a store that keeps 8 does.
    pub(crate) fn drops_events(&mut self) -> &mut Self {
        assert!(kernel::trim(&mut self.events, EventLimit::new(8).unwrap()) > 0);
        self
    }

    pub(crate) fn facts(&self) -> Facts {
        let record = (!self.record.is_absent()).then(|| self.record.clone());
        let facts = Facts::of_record(self.address.clone(), record, self.now);
        Facts { events: self.events.clone(), complete: true, ..facts }
    }

    /// The story as the program prints it.
    pub(crate) fn story(&self) -> String {
        story(&self.facts())
    }
}

pub(crate) fn story(facts: &Facts) -> String {
    layout(&why(facts), facts.now, &[])
}
