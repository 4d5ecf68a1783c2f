//! A task of a concurrent history. It knows the replies that it received and the grants that others received, and
//! mostly sends what a worker or an operator would send next.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::{
    Address, ClaimId, CoordinationStore, Grant, Kind, Label, OpId, StoreError, Terms, Token,
};

use crate::coordination::generate;
use crate::coordination::harness::Harness;
use crate::rng::Rng;

/// More often than this no request is sent again: by then the network has lost what it never loses in a row.
const ATTEMPTS: u32 = 100;

/// Grants that any task received: others present them, too.
pub(super) type Board = Mutex<Vec<(Address, Grant)>>;

/// A request that is complete, with the last reply that the caller received.
pub(super) struct Completed {
    pub(super) address: Address,
    pub(super) op: Op,
    pub(super) stamped: Stamped<Reply>,
}

pub(super) struct Actor {
    caller: u32,
    store: Arc<dyn CoordinationStore>,
    addresses: Vec<Address>,
    board: Arc<Board>,
    rng: Rng,
    calls: u64,
    known: BTreeMap<Address, Known>,
}

/// What an actor knows of one record.
#[derive(Default)]
struct Known {
    token: Token,
    grant: Option<Grant>,
    reconciling: Option<Token>,
    sent: Vec<Op>,
}

impl Actor {
    pub(super) fn new(
        caller: u32,
        store: Arc<dyn CoordinationStore>,
        addresses: Vec<Address>,
        board: Arc<Board>,
        rng: Rng,
    ) -> Self {
        Self { caller, store, addresses, board, rng, calls: 0, known: BTreeMap::new() }
    }

    /// Makes this number of requests, each until it is answered; returns the replies.
    pub(super) async fn run<H: Harness>(
        mut self,
        requests: u64,
        harness: &H,
    ) -> Result<Vec<Completed>, String> {
        let mut completed = Vec::new();
        for _ in 0..requests {
            if self.rng.percent(15) {
                let millis = self.rng.pick(&[5, 60, 120, 1_500]).unwrap_or_default();
                harness.advance(Duration::from_millis(millis)).await;
            }
            for _ in 0..self.rng.below(3) {
                tokio::task::yield_now().await;
            }
            let Some(address) = self.rng.pick(&self.addresses) else { continue };
            if self.rng.percent(10) {
                self.read(&address).await;
            }
            if self.addresses.len() > 1 && self.rng.percent(10) {
                completed.extend(self.beat().await?);
            }
            let op = self.next(&address);
            let stamped = self
                .send_until_answered(&address, &op)
                .await
                .map_err(|error| format!("{op:?} on {address}: {error}"))?;
            self.learn(&address, &op, &stamped);
            completed.push(Completed { address, op, stamped });
        }
        Ok(completed)
    }

    /// Sends the same request again until it is answered.
    async fn send_until_answered(&self, address: &Address, op: &Op) -> Result<Stamped<Reply>, StoreError> {
        let mut attempt = 1;
        loop {
            match op.send(&*self.store, address).await {
                Err(error) if error.is_worth_repeating() && attempt < ATTEMPTS => attempt += 1,
                Ok(Stamped { reply: Reply::Heartbeat(HeartbeatReply::Unknown), .. })
                    if attempt < ATTEMPTS =>
                {
                    attempt += 1;
                }
                reply => return reply,
            }
            tokio::task::yield_now().await;
        }
    }

    /// Reads. The recorder records what was read; behind a faulty network some reads fail.
    async fn read(&mut self, address: &Address) {
        if self.rng.percent(60) {
            drop(self.store.inspect(address).await);
        } else {
            let limit = 1 + self.rng.below(4) as u32;
            drop(self.store.history(address, limit).await);
        }
    }

    /// One batch of heartbeats for every grant that is held; the replies that were given.
    async fn beat(&mut self) -> Result<Vec<Completed>, String> {
        let held = |(address, known): (&Address, &Known)| {
            known.grant.map(|grant| Beat { address: address.clone(), grant })
        };
        let beats: Vec<Beat> = self.known.iter().filter_map(held).collect();
        let mut attempt = 1;
        let replies = loop {
            match self.store.heartbeat(&beats).await {
                Ok(replies) => break replies,
                Err(error) if error.is_worth_repeating() && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(format!("a batch of heartbeats: {error}")),
            }
            tokio::task::yield_now().await;
        };
        if replies.len() != beats.len() {
            return Err(format!("{} beats got {} replies", beats.len(), replies.len()));
        }
        let mut completed = Vec::new();
        for (beat, stamped) in beats.into_iter().zip(replies) {
            let (op, stamped) =
                (Op::Heartbeat(Heartbeat { grant: beat.grant }), stamped.map(Reply::Heartbeat));
            self.learn(&beat.address, &op, &stamped);
            completed.push(Completed { address: beat.address, op, stamped });
        }
        Ok(completed)
    }

    fn next(&mut self, address: &Address) -> Op {
        let lease = address.kind == Kind::Lease;
        let choice = self.rng.below(100);
        let known = self.known.entry(address.clone()).or_default();
        let (grant, reconciling, sent) = (known.grant, known.reconciling, known.sent.clone());
        let op = match (grant, reconciling) {
            _ if choice < 8 && !sent.is_empty() => self.rng.pick(&sent).unwrap_or_else(|| self.claim(lease)),
            _ if choice < 16 => match self.grant_of_another(address) {
                Some(grant) => self.work(address, grant),
                None => self.claim(lease),
            },
            (_, Some(token)) if choice < 75 => self.decide_uncertain(token),
            _ if choice < 30 => self.decide(address),
            (Some(grant), _) if choice < 90 => self.work(address, grant),
            _ => self.claim(lease),
        };
        self.known.entry(address.clone()).or_default().sent.push(op.clone());
        op
    }

    fn id(&mut self) -> u128 {
        self.calls += 1;
        u128::from(self.caller + 1) << 64 | u128::from(self.calls)
    }

    fn claim(&mut self, lease: bool) -> Op {
        let ms = Duration::from_millis;
        let (ttl, hard) = self.rng.pick(&[(50, 200), (100, 100), (1_000, 10_000)]).unwrap_or((100, 100));
        let begun = !lease && self.rng.percent(50);
        Op::Claim(Claim {
            claim_id: ClaimId::from_bits(self.id()),
            terms: Terms::new(ms(ttl), ms(hard)).unwrap_or_else(|invalid| unreachable!("{invalid}")),
            retention: self.rng.percent(70).then_some(ms(50)),
            fingerprint: generate::fingerprint(if self.rng.percent(80) { 1 } else { 2 }),
            accepts: generate::accepts(self.rng.below(3) as u8),
            worker: Label::lossy(format!("worker-{}", self.caller)),
            phase: if begun { Phase::Executing } else { Phase::Claimed },
            cause: generate::cause((self.calls % 4) as u8),
            about: generate::about((self.calls % 3) as u8),
        })
    }

    /// What a worker with this grant might send.
    fn work(&mut self, address: &Address, grant: Grant) -> Op {
        let choice = self.rng.below(if address.kind == Kind::Lease { 40 } else { 100 });
        match choice {
            0..20 => Op::Heartbeat(Heartbeat { grant }),
            20..32 => Op::Release(Release { grant, vouched: self.rng.percent(50) }),
            32..40 => Op::Cancel(Cancel { claim_id: grant.claim_id }),
            40..65 => Op::Begin(Begin { grant }),
            65..92 => Op::Complete(Complete { grant, result: generate::result(self.rng.below(2) as u8) }),
            _ => {
                let late_effects = generate::late_effects(self.rng.below(2) as u8);
                Op::Abandon(Abandon { grant, cause: generate::reason(0), late_effects })
            }
        }
    }

    fn grant_of_another(&mut self, address: &Address) -> Option<Grant> {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        let here: Vec<_> = board.iter().filter(|(at, _)| at == address).map(|(_, grant)| *grant).collect();
        self.rng.pick(&here)
    }

    fn decide(&mut self, address: &Address) -> Op {
        let expect = self.known.get(address).map(|known| known.token).unwrap_or_default();
        let (op_id, operator) = (OpId::from_bits(self.id()), self.operator());
        if address.kind == Kind::Lease || self.rng.percent(25) {
            return Op::Evict(Evict { op_id, operator, reason: None, expect });
        }
        let (even_if_alive, steal) = (self.rng.percent(50), self.rng.percent(50));
        Op::Reconcile(Reconcile { op_id, operator, reason: None, expect, even_if_alive, steal })
    }

    fn decide_uncertain(&mut self, token: Token) -> Op {
        let (op_id, operator, reason) =
            (OpId::from_bits(self.id()), self.operator(), Some(generate::reason(1)));
        if self.rng.percent(40) {
            let result = generate::result(self.rng.below(4) as u8);
            let as_is = self.rng.percent(20);
            return Op::ForceComplete(ForceComplete { op_id, token, operator, reason, result, as_is });
        }
        let accept_overlap = self.rng.percent(60);
        Op::ResetToClaimed(ResetToClaimed { op_id, token, operator, reason, accept_overlap })
    }

    fn operator(&self) -> Label {
        Label::lossy(format!("operator-{}", self.caller))
    }

    fn learn(&mut self, address: &Address, op: &Op, stamped: &Stamped<Reply>) {
        let known = self.known.entry(address.clone()).or_default();
        known.token = stamped.stamp.token;
        match (op, &stamped.reply) {
            (Op::Claim(claim), Reply::Claim(ClaimReply::Granted(granted))) => {
                let grant = Grant { token: granted.token, claim_id: claim.claim_id };
                known.grant = Some(grant);
                self.board.lock().unwrap_or_else(PoisonError::into_inner).push((address.clone(), grant));
            }
            (Op::Reconcile(_), Reply::Reconcile(ReconcileReply::Taken { token, .. })) => {
                known.reconciling = Some(*token);
            }
            (Op::ForceComplete(_) | Op::ResetToClaimed(_), _) => known.reconciling = None,
            (Op::Begin(_), Reply::Begin(BeginReply::Superseded(_)))
            | (Op::Release(_), Reply::Release(ReleaseReply::Released))
            | (Op::Heartbeat(_), Reply::Heartbeat(HeartbeatReply::Lost(_)))
            | (Op::Complete(_) | Op::Cancel(_) | Op::Abandon(_), _)
                if self.rng.percent(70) =>
            {
                known.grant = None;
            }
            _ => {}
        }
    }
}
