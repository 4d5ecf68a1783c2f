//! Operators: one reads, decides on what was read, and may be late, repeat a request or meet another.

use sentinel_core::kernel::Reply;
use sentinel_core::operation::*;
use sentinel_core::{Record, State};

use crate::request::{OPERATORS, Request};
use crate::setup::Setup;

/// How far an operator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Idle,
    /// Saw this token, and may decide on it much later.
    Saw {
        token: u64,
        state: State,
    },
    /// A request is on its way.
    Asking {
        request: Request,
    },
    /// Holds the record with its reconcile token.
    Holding {
        token: u64,
    },
    Done,
}

/// One operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Operator {
    pub(crate) phase: Phase,
    /// How often it may still read again, with a new op id.
    pub(crate) rounds: u8,
}

/// What an operator does without a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Move {
    Read,
    Send(Request),
    Resend,
}

impl Operator {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self { phase: Phase::Idle, rounds: setup.rounds }
    }

    /// The op id of this round: one for the reconcile and for the decision, as the kernel distinguishes their kinds.
    pub(crate) fn op_id(&self, index: u8) -> u8 {
        (OPERATORS + index) * 4 + self.rounds
    }

    /// What it may do now.
    pub(crate) fn moves(&self, setup: &Setup, index: u8, extra: u8, record: &Record) -> Vec<Move> {
        match self.phase {
            Phase::Idle => {
                let worth = match record.state {
                    State::Claimed => setup.evict,
                    State::Executing | State::Reconciling => true,
                    State::Free | State::Completed => false,
                };
                worth.then_some(Move::Read).into_iter().collect()
            }
            Phase::Saw { token, state: State::Claimed } => {
                vec![Move::Send(Request::Evict { expect: token })]
            }
            Phase::Saw { token, .. } => {
                let flags = |even_if_alive, steal| {
                    Move::Send(Request::Reconcile { expect: token, even_if_alive, steal })
                };
                let mut moves = vec![flags(false, false)];
                moves.extend(setup.even_if_alive.then(|| flags(true, false)));
                moves.extend(setup.steal.then(|| flags(false, true)));
                moves
            }
            Phase::Holding { token } => {
                let value = 24 + index;
                let mut moves = vec![
                    Move::Send(Request::ForceComplete { token, value }),
                    Move::Send(Request::Reset { token, accept_overlap: false }),
                ];
                let overlap = Request::Reset { token, accept_overlap: true };
                moves.extend(setup.overlap.then_some(Move::Send(overlap)));
                moves
            }
            Phase::Asking { .. } => (extra > 0).then_some(Move::Resend).into_iter().collect(),
            Phase::Done => Vec::new(),
        }
    }

    /// Acts. The request to send, and whether it is a resend.
    pub(crate) fn act(&mut self, action: Move, record: &Record) -> (Option<Request>, bool) {
        match (action, self.phase) {
            (Move::Read, _) => {
                self.phase = Phase::Saw { token: record.token.get(), state: record.state };
                (None, false)
            }
            (Move::Send(request), _) => {
                self.phase = Phase::Asking { request };
                (Some(request), false)
            }
            (Move::Resend, Phase::Asking { request }) => (Some(request), true),
            (Move::Resend, _) => (None, false),
        }
    }

    /// Whether it waits for the reply to this request.
    pub(crate) fn awaits(&self, request: Request) -> bool {
        self.phase == Phase::Asking { request }
    }

    /// Takes a reply.
    pub(crate) fn receive(&mut self, request: Request, reply: &Reply) {
        self.phase = match (reply, request) {
            (Reply::Reconcile(ReconcileReply::Taken { token, .. }), _) => {
                Phase::Holding { token: token.get() }
            }
            // Not yet: it still holds the record.
            (Reply::ResetToClaimed(ResetReply::EffectsMayLand { .. }), Request::Reset { token, .. }) => {
                Phase::Holding { token }
            }
            (Reply::Reconcile(_) | Reply::Evict(EvictReply::StaleDecision(_)), _) if self.rounds > 1 => {
                self.rounds -= 1;
                Phase::Idle
            }
            _ => Phase::Done,
        };
    }
}
