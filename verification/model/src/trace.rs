//! A counterexample as sentences: what happened, in the order in which it happened, for a reader on call.

use std::time::Duration;

use sentinel_core::kernel::Reply;
use sentinel_core::operation::*;
use sentinel_core::{ClaimId, Kind, Record, State};

use crate::operator::{self, Move};
use crate::request::{OPERATORS, Packet, Request, value_of};
use crate::setup::{Broken, Setup};
use crate::store::number;
use crate::worker::{Phase, Step};
use crate::world::{Action, Delivery, System, World};

/// The participants, and each step. A step is described from the world before it and the world after it.
pub(crate) fn sentences(system: &System, path: Vec<(World, Option<Action>)>) -> Vec<String> {
    let mut lines = vec![sentence(participants(&system.setup))];
    let mut writer = TraceWriter { system, runs: 0 };
    for pair in path.windows(2) {
        if let [(before, Some(action)), (after, _)] = pair {
            let sentence = writer.sentence(before, action, after);
            lines.push(format!("{:>8}  {sentence}", writer.clock(after)));
        }
    }
    lines
}

fn participants(setup: &Setup) -> String {
    let who = |(index, (fused, print)): (u8, &(bool, Option<u8>))| {
        let form = match (setup.kind, fused) {
            (Kind::Lease, _) => "leases",
            (Kind::Execution, true) => "begins with its claim",
            (Kind::Execution, false) => "claims, then begins",
        };
        let print = print.map(|print| format!(", sends request {print}")).unwrap_or_default();
        format!("{} ({form}{print})", worker(index))
    };
    let workers: Vec<String> = (0..).zip(&setup.workers).map(who).collect();
    let operators: Vec<String> = (0..setup.operators).map(operator).collect();
    let all = [workers, operators].concat().join(", ");
    format!("{all}. The ttl is {} ms, the hard ttl {} ms.", setup.ttl, setup.hard)
}

fn worker(index: u8) -> String {
    format!("worker {}", char::from(b'A' + index))
}

fn operator(index: u8) -> String {
    format!("operator {}", char::from(b'P' + index))
}

fn whose(packet: &Packet) -> String {
    packet.from.checked_sub(OPERATORS).map_or_else(|| worker(packet.from), operator)
}

/// A sentence starts with a capital.
fn sentence(words: String) -> String {
    let mut letters = words.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

struct TraceWriter<'a> {
    system: &'a System,
    /// Functions that started so far.
    runs: u32,
}

impl TraceWriter<'_> {
    /// Since the start, by the clock of the workers.
    fn clock(&self, w: &World) -> String {
        let instants = &self.system.setup.clock;
        let passed = instants[usize::from(w.now)].1 - instants[0].1;
        match passed {
            0..1000 => format!("{passed} ms"),
            _ => format!("{:?}", Duration::from_millis(passed)),
        }
    }

    fn sentence(&mut self, before: &World, action: &Action, after: &World) -> String {
        match action {
            Action::Tick => sentence(self.passes(before, after)),
            Action::Deliver(packet, delivery) => sentence(self.delivered(before, packet, *delivery, after)),
            Action::Worker(index, step) => sentence(self.works(before, *index, *step, after)),
            Action::Operator(index, action) => sentence(decides(before, *index, *action)),
            Action::Purge => {
                format!("The record is purged; the namespace keeps {} as its floor.", after.floor)
            }
            Action::Replicate => "The standby catches up.".to_owned(),
            Action::Failover => {
                let known = held(&after.record).unwrap_or_else(|| format!("{}", after.record.state));
                format!("The server is gone, and the standby takes over with what it has: {known}.")
            }
        }
    }

    fn passes(&self, before: &World, after: &World) -> String {
        let mut words = "time passes".to_owned();
        let instants = &self.system.setup.clock;
        let (was, is) = (instants[usize::from(before.now)], instants[usize::from(after.now)]);
        if is.0 < was.0 {
            words += &format!("; the store's clock steps back by {:?}", Duration::from_millis(was.0 - is.0));
        } else if is.0 == was.0 {
            words += "; the store's clock does not advance";
        }
        let now = |w: &World| sentinel_core::StoreTime::from_micros(instants[usize::from(w.now)].0 * 1000);
        let active = matches!(after.record.state, State::Claimed | State::Executing);
        if active && before.record.is_live(now(before)) && !after.record.is_live(now(after)) {
            words += &format!(", and {} lapses", held(&after.record).unwrap_or_default());
        }
        for (index, (was, is)) in (0..).zip(before.workers.iter().zip(&after.workers)) {
            if was.phase != is.phase {
                words += &format!("; {} is at its deadline and stops", worker(index));
            }
        }
        words + "."
    }

    fn works(&mut self, before: &World, index: u8, step: Step, after: &World) -> String {
        let (who, setup) = (worker(index), &self.system.setup);
        let phase = before.workers[usize::from(index)].phase;
        let silent = after.workers[usize::from(index)].phase == Phase::Done;
        match step {
            Step::Claim => format!("{who} sends its claim."),
            Step::Resend => format!("{who} has no answer, and sends the same request again."),
            Step::GiveUp if setup.breaks(Broken::SendsAfterCancel) => {
                format!(
                    "{who} has no answer, reports to its caller that nothing ran, cancels, and still sends requests."
                )
            }
            Step::GiveUp if !silent => format!("{who} has no answer, and goes ahead."),
            Step::GiveUp => {
                format!("{who} has no answer, decides never to run, reports that to its caller, and cancels.")
            }
            Step::Begin => format!("{who} sends its begin."),
            Step::Start => self.starts(&who),
            Step::Withdraw => {
                format!("{who} decides not to run, reports that to its caller, and gives back.")
            }
            Step::Write => format!("{who} writes to the resource, with its token."),
            Step::Beat => format!("{who} sends a heartbeat."),
            Step::Complete if setup.kind == Kind::Lease => format!("{who} is done, and sends its release."),
            Step::Complete => format!("{who}'s function returns; {who} sends the result."),
            Step::NothingHappened => {
                format!("{who}'s function vouches that nothing happened; {who} sends a vouched release.")
            }
            Step::Unknown if matches!(phase, Phase::Running { .. }) && !silent => {
                format!("{who} abandons its run, whose function goes on.")
            }
            Step::Unknown => format!("{who}'s function ends without knowing; {who} sends an abandon."),
            Step::Panic if setup.breaks(Broken::PanicVouches) => {
                format!("{who}'s function panics; {who} sends a vouched release.")
            }
            Step::Panic => format!("{who}'s function panics; {who} sends an abandon."),
            Step::Leave if silent => format!("{who}'s caller goes away; {who} gives back what it asked for."),
            Step::Leave => format!("{who}'s caller goes away; the call goes on without it."),
            Step::Read => {
                format!("{who} has no answer, reads the record, finds its own begin, goes ahead.")
            }
        }
    }

    fn starts(&mut self, who: &str) -> String {
        self.runs += 1;
        match (self.system.setup.kind, self.runs) {
            (Kind::Lease, _) => format!("{who} works under its lease."),
            (Kind::Execution, 1) => format!("{who}'s function starts."),
            (Kind::Execution, run) => format!("{who}'s function starts: run {run} of this key."),
        }
    }

    /// What the store did with a request, and who got the reply.
    fn delivered(&self, before: &World, packet: &Packet, delivery: Delivery, after: &World) -> String {
        let (who, request) = (whose(packet), request_text(packet.request));
        let Some(applied) = self.system.applied(before, packet, delivery) else {
            return format!("{who}'s {request} is refused by the store as such.");
        };
        let reply = reply_text(&applied.reply);
        let mut words = match held(&before.record) {
            Some(held) if applied.changed && holder(&before.record) != Some(packet.from) => {
                format!("{who}'s {request} takes effect on {held}: {reply}.")
            }
            _ if applied.changed => format!("{who}'s {request} takes effect: {reply}."),
            _ => format!("{who}'s {request} changes nothing: {reply}."),
        };
        if delivery == Delivery::Stale {
            words += " (Its statement had read clock and floor, and then waited for a lock.)";
        }
        let awaited = self.system.awaited(before, packet);
        words += match (awaited, delivery) {
            (true, Delivery::ReplyLost) => " The reply is lost.",
            (true, _) => " The reply arrives.",
            (false, _) => " No sender waits for the reply.",
        };
        if delivery == Delivery::Repeated {
            words += " A copy of the request is still under way.";
        }
        words + &self.concludes(before, packet, after)
    }

    /// What the reply leads a worker to report to its caller.
    fn concludes(&self, before: &World, packet: &Packet, after: &World) -> String {
        let index = usize::from(packet.from);
        match (before.workers.get(index), after.workers.get(index)) {
            (Some(was), Some(is)) if was.phase != is.phase && is.phase == Phase::Done && !is.ran => {
                format!(" {} does not run.", sentence(worker(packet.from)))
            }
            _ => String::new(),
        }
    }
}

fn decides(before: &World, index: u8, action: Move) -> String {
    let who = operator(index);
    match action {
        Move::Read => {
            let found = held(&before.record).unwrap_or_else(|| format!("{}", before.record.state));
            format!("{who} reads the record, and finds {found}.")
        }
        Move::Send(request) => {
            let again = matches!(before.operators[usize::from(index)].phase, operator::Phase::Holding { .. });
            let verb = if again { "decides, and sends" } else { "sends" };
            format!("{who} {verb} a {}.", request_text(request))
        }
        Move::Resend => format!("{who} has no answer, and sends the same decision again."),
    }
}

/// Whose claim the record has.
fn holder(record: &Record) -> Option<u8> {
    let id = |id: ClaimId| number(id).checked_sub(1);
    record.claim_id.and_then(id)
}

/// What the record holds, if a worker has it or it has a result.
fn held(record: &Record) -> Option<String> {
    let token = record.token;
    let whose = holder(record).map(|index| format!("{}'s ", worker(index))).unwrap_or_default();
    match record.state {
        State::Free => None,
        State::Claimed => Some(format!("{whose}claim under token {token}")),
        State::Executing => Some(format!("{whose}execution under token {token}")),
        State::Completed => Some(format!("{whose}result under token {token}")),
        State::Reconciling => Some(format!("the reconciliation under token {token}")),
    }
}

fn request_text(request: Request) -> String {
    match request {
        Request::Claim => "claim".to_owned(),
        Request::Begin { token } => format!("begin of token {token}"),
        Request::Heartbeat { token, .. } => format!("heartbeat for token {token}"),
        Request::Complete { token, value } => format!("result {value} under token {token}"),
        Request::Cancel => "cancel".to_owned(),
        Request::Release { token, vouched: true } => format!("vouched release of token {token}"),
        Request::Release { token, .. } => format!("release of token {token}"),
        Request::Abandon { token } => format!("abandon of token {token}"),
        Request::Reconcile { expect, even_if_alive, steal } => {
            let alive = if even_if_alive { ", even if alive" } else { "" };
            let steal = if steal { ", stealing" } else { "" };
            format!("reconcile (token {expect} was seen{alive}{steal})")
        }
        Request::ForceComplete { token, value } => {
            format!("force-complete with result {value}, reconcile token {token}")
        }
        Request::Reset { token, accept_overlap } => {
            let overlap = if accept_overlap { ", overlap accepted" } else { "" };
            format!("reset, reconcile token {token}{overlap}")
        }
        Request::Evict { expect } => format!("eviction (token {expect} was seen)"),
    }
}

fn reply_text(reply: &Reply) -> String {
    let plain = match reply {
        Reply::Claim(reply) => return claim_reply_text(reply),
        Reply::Begin(BeginReply::Begun(granted)) => return format!("begun, token {}", granted.token),
        Reply::Reconcile(ReconcileReply::Taken { token, .. }) => {
            return format!("taken, reconcile token {token}");
        }
        Reply::ResetToClaimed(ResetReply::Reset { token }) => {
            return format!("free for any call, token {token}");
        }
        Reply::Evict(EvictReply::Evicted { token }) => return format!("evicted, token {token}"),
        Reply::Begin(BeginReply::Superseded(_)) => "superseded",
        Reply::Begin(BeginReply::Expired) => "too late",
        Reply::Begin(BeginReply::Completed) => "it is completed",
        Reply::Heartbeat(HeartbeatReply::Kept { .. }) => "kept",
        Reply::Heartbeat(HeartbeatReply::Lost(_)) => "lost",
        Reply::Heartbeat(HeartbeatReply::Unknown) => "not known now",
        Reply::Complete(CompleteReply::Recorded { late: true }) => "recorded, late",
        Reply::Complete(CompleteReply::Recorded { .. }) => "recorded",
        Reply::Complete(CompleteReply::Conflict) => "another result is recorded",
        Reply::Complete(CompleteReply::NotBegun) => "it never began",
        Reply::Complete(CompleteReply::Superseded(_)) => "superseded",
        Reply::Cancel(CancelReply::Cancelled) => "withdrawn",
        Reply::Cancel(CancelReply::Untouched(_)) => "not its own",
        Reply::Release(ReleaseReply::Released) => "given back",
        Reply::Release(ReleaseReply::MayHaveRun) => "it may have run",
        Reply::Release(ReleaseReply::Superseded(_)) => "superseded",
        Reply::Abandon(AbandonReply::Abandoned) => "in doubt from now on",
        Reply::Abandon(AbandonReply::Superseded(_)) => "superseded",
        Reply::Reconcile(ReconcileReply::StillAlive { .. }) => "its worker is alive",
        Reply::Reconcile(ReconcileReply::HeldBy { .. }) => "another operator holds it",
        Reply::Reconcile(ReconcileReply::AlreadyCompleted) => "it is completed",
        Reply::Reconcile(ReconcileReply::NotExecuting(_)) => "nothing executes",
        Reply::ForceComplete(ForceCompleteReply::Completed) => "completed by decision",
        Reply::ForceComplete(ForceCompleteReply::NotDecodable { .. }) => "callers cannot decode it",
        Reply::ResetToClaimed(ResetReply::EffectsMayLand { .. }) => "not while an effect may still land",
        Reply::Evict(EvictReply::Executing) => "it executes",
        Reply::Evict(EvictReply::NotClaimed(_)) => "nothing is claimed",
        Reply::Reconcile(ReconcileReply::StaleDecision(_))
        | Reply::ForceComplete(ForceCompleteReply::StaleDecision(_))
        | Reply::ResetToClaimed(ResetReply::StaleDecision(_))
        | Reply::Evict(EvictReply::StaleDecision(_)) => "the decision is stale",
    };
    plain.to_owned()
}

fn claim_reply_text(reply: &ClaimReply) -> String {
    match reply {
        ClaimReply::Granted(granted) => format!("granted, token {}, {}", granted.token, granted.state),
        ClaimReply::AlreadyReleased => "this call was given back before".to_owned(),
        ClaimReply::InProgress { .. } => "another call has it".to_owned(),
        ClaimReply::Uncertain { token, .. } => format!("uncertain since token {token}"),
        ClaimReply::Completed { result, .. } => format!("completed before, with result {}", value_of(result)),
        ClaimReply::Reconciling { .. } => "an operator has it".to_owned(),
        ClaimReply::FingerprintMismatch => "another request has this key".to_owned(),
    }
}
