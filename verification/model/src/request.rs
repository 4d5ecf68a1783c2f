//! Requests in flight, small enough to be model state, and what they are to the kernel.

use std::time::Duration;

use bytes::Bytes;
use sentinel_core::kernel::Op;
use sentinel_core::operation::*;
use sentinel_core::{
    Accepts, ClaimId, Fingerprint, Grant, Kind, Label, OpId, Payload, RecordedResult, Terms, Token,
};

use crate::setup::Setup;

/// What is asked, without the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Request {
    Claim,
    Begin { token: u64 },
    Heartbeat { token: u64, sent: u8 },
    Complete { token: u64, value: u8 },
    Cancel,
    Release { token: u64, vouched: bool },
    Abandon { token: u64 },
    Reconcile { expect: u64, even_if_alive: bool, steal: bool },
    ForceComplete { token: u64, value: u8 },
    Reset { token: u64, accept_overlap: bool },
    Evict { expect: u64 },
}

/// A request in the network. `from` is a worker, or an operator if at least [`OPERATORS`]; `id` is the claim or op id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Packet {
    pub(crate) from: u8,
    pub(crate) id: u8,
    pub(crate) request: Request,
}

/// The first number of an operator.
pub(crate) const OPERATORS: u8 = 8;

/// What does not change from packet to packet.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    terms: Terms,
    retention: Option<Duration>,
    label: Label,
    kind: Kind,
    results: Vec<RecordedResult>,
    workers: Vec<(bool, Option<Fingerprint>)>,
}

impl Parts {
    pub(crate) fn new(setup: &Setup) -> Self {
        let ms = Duration::from_millis;
        let terms = Terms::new(ms(setup.ttl), ms(setup.hard));
        let terms = terms.and_then(|terms| terms.with_late_effects(ms(setup.late)));
        let terms = terms.expect("a configuration has lawful terms");
        let result = |value: u8| RecordedResult::success(Payload::new("value", Bytes::from(vec![value])));
        Self {
            terms,
            retention: setup.retention.map(ms),
            label: Label::lossy("m"),
            kind: setup.kind,
            results: (0..32).map(result).collect(),
            workers: setup.workers.iter().map(|(fused, print)| (*fused, print.map(fingerprint))).collect(),
        }
    }

    /// The kernel's operation.
    pub(crate) fn op(&self, packet: &Packet) -> Op {
        let op_id = OpId::from_bits(packet.id.into());
        let claim_id = ClaimId::from_bits(packet.id.into());
        let grant = |token| Grant { token: Token::from_stored(token), claim_id };
        let (operator, reason) = (self.label.clone(), None);
        match packet.request {
            Request::Claim => self.claim(packet).into(),
            Request::Begin { token } => Begin { grant: grant(token) }.into(),
            Request::Heartbeat { token, .. } => Heartbeat { grant: grant(token) }.into(),
            Request::Complete { token, value } => {
                Complete { grant: grant(token), result: self.results[usize::from(value)].clone() }.into()
            }
            Request::Cancel => Cancel { claim_id }.into(),
            Request::Release { token, vouched } => Release { grant: grant(token), vouched }.into(),
            Request::Abandon { token } => {
                let late_effects = self.terms.late_effects();
                Abandon { grant: grant(token), cause: self.label.clone(), late_effects }.into()
            }
            Request::Reconcile { expect, even_if_alive, steal } => {
                let expect = Token::from_stored(expect);
                Reconcile { op_id, operator, reason, expect, even_if_alive, steal }.into()
            }
            Request::ForceComplete { token, value } => {
                let (token, result) = (Token::from_stored(token), self.results[usize::from(value)].clone());
                ForceComplete { op_id, token, operator, reason, result, as_is: false }.into()
            }
            Request::Reset { token, accept_overlap } => {
                let token = Token::from_stored(token);
                ResetToClaimed { op_id, token, operator, reason, accept_overlap }.into()
            }
            Request::Evict { expect } => {
                Evict { op_id, operator, reason, expect: Token::from_stored(expect) }.into()
            }
        }
    }

    fn claim(&self, packet: &Packet) -> Claim {
        let (fused, fingerprint) = &self.workers[usize::from(packet.from)];
        let phase = if *fused { Phase::Executing } else { Phase::Claimed };
        self.claim_as(packet.id, phase, fingerprint.clone())
    }

    /// A claim by someone, asking for one phase.
    pub(crate) fn claim_as(&self, id: u8, phase: Phase, fingerprint: Option<Fingerprint>) -> Claim {
        Claim {
            cause: None,
            about: None,
            claim_id: ClaimId::from_bits(id.into()),
            terms: self.terms,
            retention: self.retention,
            fingerprint,
            accepts: Accepts::any(),
            worker: self.label.clone(),
            phase,
        }
    }

    pub(crate) fn label(&self) -> Label {
        self.label.clone()
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn hard(&self) -> Duration {
        self.terms.hard_ttl()
    }
}

/// The fingerprint with a number.
pub(crate) fn fingerprint(number: u8) -> Fingerprint {
    Fingerprint::of_bytes(&[number])
}

/// The number that a result of the model carries.
pub(crate) fn value_of(result: &RecordedResult) -> u8 {
    result.payload.bytes.first().copied().unwrap_or(0)
}
