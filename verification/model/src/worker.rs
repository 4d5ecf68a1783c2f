//! The worker's half (spec §4) as a small state machine: what it may do next, and what it does with a reply.
//!
//! A crash needs no step of its own: a worker that never takes another step has crashed.

use sentinel_core::kernel::Reply;
use sentinel_core::operation::*;
use sentinel_core::{Kind, State};

use crate::request::{Packet, Request, value_of};
use crate::setup::{Broken, Setup};

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Idle,
    /// The claim is on its way, sent last at this instant.
    Claiming {
        sent: u8,
    },
    /// Claimed; the begin is not sent.
    Holding {
        token: u64,
    },
    Beginning {
        token: u64,
        sent: u8,
    },
    /// The function may start before `lease`, and must be over at `hard`, both on the worker's own clock.
    Ready {
        token: u64,
        lease: u64,
        hard: u64,
    },
    /// The function runs.
    Running {
        token: u64,
        until: u64,
        hard: u64,
        wrote: bool,
    },
    /// The function is over; nothing was reported of it yet.
    Ended {
        token: u64,
    },
    Completing {
        token: u64,
    },
    Done,
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Worker {
    pub(crate) phase: Phase,
    /// The function of this call started.
    pub(crate) ran: bool,
    /// The caller got the answer that it did not run, and will not.
    pub(crate) denied: bool,
    /// The caller has gone: the answer is not delivered. What started goes on.
    pub(crate) gone: bool,
    pub(crate) beats: u8,
    /// The grant's place among all grants, for the resource.
    pub(crate) generation: u8,
    /// What the provider's idempotency key is made of.
    pub(crate) incarnation: u64,
    /// How often the function started: the value of its result.
    pub(crate) attempt: u8,
}

/// What a worker does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Claim,
    Resend,
    GiveUp,
    Begin,
    Start,
    Withdraw,
    Write,
    Beat,
    Complete,
    NothingHappened,
    Unknown,
    /// The function panics, or its runtime drops it.
    Panic,
    /// The caller goes away.
    Leave,
    Read,
}

/// The answer to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallResult {
    NotRun,
    Replayed(u8),
    Completed(u8),
    Ran,
}

/// What a step leads to.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) send: Option<Request>,
    pub(crate) answer: Option<CallResult>,
    pub(crate) started: bool,
    pub(crate) wrote: bool,
    /// The function vouched, truly, that nothing happened: another may run.
    pub(crate) vouched: bool,
    /// It is a resend: it counts against the bound.
    pub(crate) extra: bool,
}

impl Worker {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self {
            phase: Phase::Idle,
            ran: false,
            denied: false,
            gone: false,
            beats: setup.beats,
            generation: 0,
            incarnation: 0,
            attempt: 0,
        }
    }

    /// The claim id of worker `index`: fresh for each call.
    pub(crate) fn claim_id(setup: &Setup, index: u8) -> u8 {
        if setup.breaks(Broken::SharesClaimIds) { 1 } else { index + 1 }
    }

    /// The value that this call's function returns.
    fn value(self, index: u8) -> u8 {
        index * 4 + self.attempt
    }

    /// What it may do now.
    pub(crate) fn steps(&self, setup: &Setup, extra: u8, mono: u64) -> Vec<Step> {
        let mut steps = self.working(setup, extra, mono);
        steps.extend(self.may_leave(setup).then_some(Step::Leave));
        steps
    }

    fn may_leave(&self, setup: &Setup) -> bool {
        let breaks =
            matches!(setup.broken, Some(Broken::DropReleases | Broken::DropVouches | Broken::DropCancels));
        match self.phase {
            Phase::Idle | Phase::Done => false,
            Phase::Running { .. } => !self.gone && (setup.leaves || breaks),
            _ => !self.gone && setup.leaves,
        }
    }

    fn working(&self, setup: &Setup, extra: u8, mono: u64) -> Vec<Step> {
        let fits = |until: u64| mono < until || setup.pauses;
        match self.phase {
            Phase::Idle => vec![Step::Claim],
            Phase::Claiming { .. } | Phase::Beginning { .. } => {
                let mut steps = vec![Step::GiveUp];
                steps.extend((extra > 0).then_some(Step::Resend));
                steps.extend(setup.breaks(Broken::SettlesByReading).then_some(Step::Read));
                steps
            }
            Phase::Holding { .. } => {
                [Step::Begin].into_iter().chain(setup.withdraws.then_some(Step::Withdraw)).collect()
            }
            Phase::Ready { lease, .. } => {
                let skips =
                    setup.breaks(Broken::SkipsLocalDeadline) || setup.breaks(Broken::MeasuresFromTheReply);
                let go = (fits(lease) || skips).then_some(Step::Start);
                let stop = (mono >= lease || setup.withdraws).then_some(Step::Withdraw);
                go.into_iter().chain(stop).collect()
            }
            Phase::Running { wrote, .. } => self.running(setup, wrote),
            Phase::Ended { .. } => endings(setup),
            Phase::Completing { .. } => {
                let again = setup.breaks(Broken::RunsAgainAfterAmbiguousComplete) && self.attempt < 2;
                (extra > 0).then_some(Step::Resend).into_iter().chain(again.then_some(Step::Start)).collect()
            }
            Phase::Done => Vec::new(),
        }
    }

    fn running(&self, setup: &Setup, wrote: bool) -> Vec<Step> {
        let mut steps = endings(setup);
        // Sent once, if it is sent too early.
        steps.retain(|step| {
            *step != Step::Unknown || !setup.breaks(Broken::AbandonsWhileRunning) || self.beats > 0
        });
        steps.extend((setup.resource && !wrote).then_some(Step::Write));
        steps.extend((self.beats > 0).then_some(Step::Beat));
        steps
    }

    /// Takes a step. `now` is the instant's number, `mono` the worker's clock.
    pub(crate) fn take(&mut self, step: Step, index: u8, setup: &Setup, now: u8, mono: u64) -> Effects {
        match (step, self.phase) {
            (Step::Claim, _) => {
                self.phase = Phase::Claiming { sent: now };
                Effects { send: Some(Request::Claim), ..Effects::default() }
            }
            (Step::Resend, phase) => {
                let (phase, request) = self.again(phase, index, now);
                self.phase = phase;
                Effects { send: Some(request), extra: true, ..Effects::default() }
            }
            (Step::GiveUp, phase) => self.give_up(phase, setup),
            (Step::Leave, phase) => self.leave(phase, setup),
            (Step::Begin, Phase::Holding { token }) => {
                self.phase = Phase::Beginning { token, sent: now };
                Effects { send: Some(Request::Begin { token }), ..Effects::default() }
            }
            (Step::Start, Phase::Ready { token, lease, hard }) => {
                let until = match setup.kind {
                    Kind::Execution => hard,
                    Kind::Lease if setup.breaks(Broken::MeasuresFromTheReply) => mono + setup.ttl,
                    Kind::Lease => lease,
                };
                self.start(token, until, hard)
            }
            (Step::Start, Phase::Completing { token }) => self.start(token, u64::MAX, u64::MAX),
            (Step::Withdraw, Phase::Holding { token }) => {
                self.stop(Request::Release { token, vouched: false })
            }
            (Step::Withdraw, Phase::Ready { token, .. }) => self.stop(match setup.kind {
                Kind::Execution if !setup.breaks(Broken::WithdrawVouches) => Request::Cancel,
                kind => Request::Release { token, vouched: kind == Kind::Execution },
            }),
            (Step::Write, Phase::Running { token, until, hard, .. }) => {
                self.phase = Phase::Running { token, until, hard, wrote: true };
                Effects { wrote: true, ..Effects::default() }
            }
            (Step::Beat, Phase::Running { token, .. }) => {
                self.beats -= 1;
                Effects { send: Some(Request::Heartbeat { token, sent: now }), ..Effects::default() }
            }
            (_, Phase::Running { token, .. } | Phase::Ended { token }) => self.end(step, token, index, setup),
            _ => Effects::default(),
        }
    }

    fn start(&mut self, token: u64, until: u64, hard: u64) -> Effects {
        self.phase = Phase::Running { token, until, hard, wrote: false };
        self.ran = true;
        self.attempt += 1;
        Effects { started: true, ..Effects::default() }
    }

    /// Decides not to run, reports that, and sends nothing after it.
    fn stop(&mut self, last: Request) -> Effects {
        self.phase = Phase::Done;
        Effects { send: Some(last), answer: Some(CallResult::NotRun), ..Effects::default() }
    }

    /// The same request again.
    fn again(&self, phase: Phase, index: u8, now: u8) -> (Phase, Request) {
        match phase {
            Phase::Beginning { token, .. } => {
                (Phase::Beginning { token, sent: now }, Request::Begin { token })
            }
            Phase::Completing { token } => (phase, Request::Complete { token, value: self.value(index) }),
            _ => (Phase::Claiming { sent: now }, Request::Claim),
        }
    }

    /// It stays ambiguous: the function never runs.
    fn give_up(&mut self, phase: Phase, setup: &Setup) -> Effects {
        let runs = match phase {
            Phase::Claiming { .. } => setup.breaks(Broken::RunsOnAmbiguousClaim).then_some(0),
            Phase::Beginning { token, .. } => setup.breaks(Broken::RunsOnAmbiguousBegin).then_some(token),
            _ => None,
        };
        if let Some(token) = runs {
            self.phase = Phase::Ready { token, lease: u64::MAX, hard: u64::MAX };
            return Effects::default();
        }
        if setup.breaks(Broken::SendsAfterCancel) {
            // Answered the caller, cancelled, and still sends requests.
            self.denied = true;
            return Effects {
                send: Some(Request::Cancel),
                answer: Some(CallResult::NotRun),
                ..Effects::default()
            };
        }
        self.stop(Request::Cancel)
    }

    /// The caller goes away. What did not start is withdrawn; what started goes on without it.
    fn leave(&mut self, phase: Phase, setup: &Setup) -> Effects {
        self.gone = true;
        let last = match (phase, setup.broken) {
            (Phase::Claiming { .. } | Phase::Holding { .. }, _) => Some(Request::Cancel),
            (Phase::Running { .. }, Some(Broken::DropCancels)) => Some(Request::Cancel),
            (Phase::Running { token, .. }, Some(Broken::DropReleases)) => {
                Some(Request::Release { token, vouched: false })
            }
            (Phase::Running { token, .. }, Some(Broken::DropVouches)) => {
                Some(Request::Release { token, vouched: true })
            }
            _ => None,
        };
        if last.is_some() {
            self.phase = Phase::Done;
        }
        Effects { send: last, ..Effects::default() }
    }

    /// The function is over.
    fn end(&mut self, step: Step, token: u64, index: u8, setup: &Setup) -> Effects {
        let running = self.phase;
        self.phase = Phase::Done;
        let (send, answer) = match (step, setup.kind) {
            (Step::Unknown, _) if setup.breaks(Broken::AbandonsWhileRunning) => {
                self.phase = running;
                self.beats = 0;
                (Request::Abandon { token }, None)
            }
            (Step::Complete, Kind::Execution) => {
                self.phase = Phase::Completing { token };
                (Request::Complete { token, value: self.value(index) }, None)
            }
            (Step::Complete, Kind::Lease) => {
                (Request::Release { token, vouched: false }, Some(CallResult::Ran))
            }
            (Step::Panic, _) if setup.breaks(Broken::PanicVouches) => {
                (Request::Release { token, vouched: true }, Some(CallResult::Ran))
            }
            (Step::NothingHappened, _) => (Request::Release { token, vouched: true }, Some(CallResult::Ran)),
            _ => (Request::Abandon { token }, Some(CallResult::Ran)),
        };
        let vouched = step == Step::NothingHappened;
        Effects { send: Some(send), answer, vouched, ..Effects::default() }
    }

    /// Whether it waits for the reply to this request.
    pub(crate) fn awaits(&self, request: Request) -> bool {
        match (self.phase, request) {
            (Phase::Claiming { .. }, Request::Claim) => true,
            (Phase::Beginning { token, .. }, Request::Begin { token: requested }) => token == requested,
            (Phase::Completing { token }, Request::Complete { token: requested, .. }) => token == requested,
            (Phase::Running { token, .. }, Request::Heartbeat { token: requested, .. }) => token == requested,
            _ => false,
        }
    }

    /// Takes a reply. `left` turns a store's instant into what remains of it, in milliseconds.
    pub(crate) fn receive(
        &mut self,
        packet: &Packet,
        reply: &Reply,
        setup: &Setup,
        left: impl Fn(sentinel_core::StoreTime) -> u64,
    ) -> Effects {
        match (self.phase, reply) {
            (Phase::Claiming { sent }, Reply::Claim(ClaimReply::Granted(granted))) => {
                self.incarnation = granted.incarnation;
                let two_step = setup.kind == Kind::Execution && granted.state == State::Claimed;
                self.phase = match two_step && !setup.breaks(Broken::RunsWithoutBegin) {
                    true => Phase::Holding { token: granted.token.get() },
                    false => ready(granted, setup.clock[usize::from(sent)].1, left),
                };
                Effects::default()
            }
            (Phase::Beginning { sent, .. }, Reply::Begin(BeginReply::Begun(granted))) => {
                self.phase = ready(granted, setup.clock[usize::from(sent)].1, left);
                Effects::default()
            }
            (Phase::Beginning { .. }, Reply::Begin(BeginReply::Expired)) => self.stop(Request::Cancel),
            (Phase::Completing { .. }, Reply::Complete(reply)) => {
                let Request::Complete { value, .. } = packet.request else { return Effects::default() };
                let recorded = matches!(reply, CompleteReply::Recorded { .. });
                let answer = if recorded { CallResult::Completed(value) } else { CallResult::Ran };
                self.phase = Phase::Done;
                Effects { answer: Some(answer), ..Effects::default() }
            }
            (Phase::Running { token, until, hard, wrote }, Reply::Heartbeat(reply)) => {
                let Request::Heartbeat { sent, .. } = packet.request else { return Effects::default() };
                if let (HeartbeatReply::Kept { lease_until }, Kind::Lease) = (reply, setup.kind) {
                    let until = until.max(setup.clock[usize::from(sent)].1 + left(*lease_until));
                    self.phase = Phase::Running { token, until, hard, wrote };
                }
                Effects::default()
            }
            (_, Reply::Claim(ClaimReply::Completed { result, .. })) => {
                self.finish_call(CallResult::Replayed(value_of(result)))
            }
            _ => self.finish_call(CallResult::NotRun),
        }
    }

    fn finish_call(&mut self, answer: CallResult) -> Effects {
        self.phase = Phase::Done;
        Effects { answer: Some(answer), ..Effects::default() }
    }

    /// Time reached `mono`: a function that heeds its cancellation signal is over by its deadline.
    pub(crate) fn heed(&mut self, setup: &Setup, mono: u64) {
        let heeds = !setup.pauses && !setup.breaks(Broken::WorksPastDeadline);
        if let Phase::Running { token, until, .. } = self.phase
            && heeds
            && mono >= until
        {
            self.phase = match setup.kind {
                Kind::Execution => Phase::Ended { token },
                Kind::Lease => Phase::Done,
            };
        }
    }
}

fn endings(setup: &Setup) -> Vec<Step> {
    let vouches = setup.vouches.then_some(Step::NothingHappened);
    let doubts = setup.doubts.then_some(Step::Unknown);
    let panics = setup.panics.then_some(Step::Panic);
    [Step::Complete].into_iter().chain(vouches).chain(doubts).chain(panics).collect()
}

/// May start. What remains is counted from when the request was *sent*, which the store cannot have seen earlier.
fn ready(granted: &Granted, sent: u64, left: impl Fn(sentinel_core::StoreTime) -> u64) -> Phase {
    Phase::Ready {
        token: granted.token.get(),
        lease: sent + left(granted.lease_until),
        hard: sent + left(granted.hard_until),
    }
}
