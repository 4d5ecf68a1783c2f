//! The world: store, network, workers, operators, time; and every step that it can take.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use sentinel_core::kernel::{self, Op, Reading, Rebuilt, Reply};
use sentinel_core::operation::{CancelReply, ClaimReply};
use sentinel_core::{Event, PURGE_REST, Record, State, StoreTime, Token};
use stateright::{Model, Property};

use crate::coverage::Coverage;
use crate::ghost::{Ghost, StoreStep};
use crate::liveness;
use crate::operator::{Move, Operator};
use crate::request::{OPERATORS, Packet, Parts, Request};
use crate::setup::{Broken, Mutation, Setup, invariant};
use crate::store::{self, Applied};
use crate::worker::{CallResult, Effects, Phase, Step, Worker};

/// The state of everything.
#[derive(Debug, Clone)]
pub(crate) struct World {
    /// The number of the instant.
    pub(crate) now: u8,
    pub(crate) record: Arc<Record>,
    pub(crate) floor: u64,
    /// The floor at the last instant.
    floor_before: u64,
    /// What a server that takes over would have.
    standby: Option<(Arc<Record>, u64)>,
    /// Requests in flight, sorted; what is lost is never delivered.
    net: Vec<Packet>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) operators: Vec<Operator>,
    extra: u8,
    failovers: u8,
    pub(crate) ghost: Ghost,
    /// All events. Not part of the state: it is checked at each step, and how a record came about decides nothing.
    log: Arc<Vec<Event>>,
}

impl World {
    /// All but the log.
    fn parts(&self) -> impl Hash + PartialEq + '_ {
        let store = (self.now, &self.record, self.floor, self.floor_before, &self.standby, &self.net);
        let others = (&self.workers, &self.operators, self.extra, self.failovers);
        (store, others, &self.ghost)
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

/// One step of the world.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Tick,
    /// The store applies a request.
    Deliver(Packet, Delivery),
    Worker(u8, Step),
    Operator(u8, Move),
    Purge,
    /// The standby catches up.
    Replicate,
    /// The standby takes over as it is.
    Failover,
}

/// How a request and its reply are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Answered,
    ReplyLost,
    /// Another copy is still under way. Answered, if the sender waits: a lost reply and a copy is a resend.
    Repeated,
    /// Answered, by a statement that read clock and floor one instant ago and waited since.
    Stale,
}

/// A configuration to explore.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) setup: Setup,
    /// What the exploration reached, in all.
    pub(crate) coverage: Coverage,
    parts: Parts,
}

impl System {
    pub(crate) fn new(setup: Setup) -> Self {
        let parts = Parts::new(&setup);
        Self { setup, parts, coverage: Coverage::default() }
    }

    fn reading(&self, w: &World, delivery: Delivery) -> Reading {
        let (instant, floor) = match delivery {
            Delivery::Stale => (w.now - 1, w.floor_before),
            _ => (w.now, w.floor),
        };
        let now = StoreTime::from_micros(self.setup.clock[usize::from(instant)].0 * 1000);
        Reading { kind: self.setup.kind, now, floor: Token::from_stored(floor) }
    }

    /// Whether a statement can have waited since the last instant.
    fn waited(&self, w: &World) -> bool {
        let mono = |instant: u8| self.setup.clock[usize::from(instant)].1;
        self.setup.stale && w.now > 0 && mono(w.now) - mono(w.now - 1) < 3_600_000
    }

    fn store_now(&self, w: &World) -> StoreTime {
        StoreTime::from_micros(self.setup.clock[usize::from(w.now)].0 * 1000)
    }

    fn mono(&self, w: &World) -> u64 {
        self.setup.clock[usize::from(w.now)].1
    }

    fn send(&self, w: &mut World, from: u8, id: u8, request: Request, extra: bool) {
        let packet = Packet { from, id, request };
        let at = w.net.partition_point(|other| *other < packet);
        // A resend while the first copy is under way is that copy delivered twice: `Delivery::Repeated`.
        if w.net.get(at) != Some(&packet) {
            w.net.insert(at, packet);
        }
        w.extra -= u8::from(extra);
    }

    /// What the store would do with a request, without doing it.
    pub(crate) fn applied(&self, w: &World, packet: &Packet, delivery: Delivery) -> Option<Applied> {
        let (mut record, at) = (Record::clone(&w.record), self.reading(w, delivery));
        store::apply(self.setup.mutation, &mut record, &self.parts.op(packet), at)
    }

    fn deliver(&self, last: &World, w: &mut World, packet: Packet, delivery: Delivery) -> Option<()> {
        let op = self.parts.op(&packet);
        let at = self.reading(w, delivery);
        let mut record = Record::clone(&w.record);
        // No reply and no change is the same as a request that is lost.
        let applied = store::apply(self.setup.mutation, &mut record, &op, at)?;
        let now = at.now.max(w.record.last_now);
        w.ghost.check(&StoreStep {
            parts: &self.parts,
            before: &w.record,
            after: &record,
            op: &op,
            reply: &applied.reply,
            changed: applied.changed,
            now,
        });
        self.coverage.record(&op, &applied);
        if applied.changed {
            w.record = Arc::new(record);
            self.changed(w, applied.event);
        }
        // A request without effect whose reply is lost might as well be lost itself.
        let waits = self.awaited(last, &packet);
        let answered = delivery != Delivery::ReplyLost && waits;
        let withdrawal = self.pool_withdrawal(&op, &applied.reply, answered);
        if !answered && !applied.changed && w.ghost == last.ghost && withdrawal.is_none() {
            return None;
        }
        if delivery == Delivery::Repeated {
            w.extra -= 1;
        } else {
            w.net.retain(|other| *other != packet);
        }
        if let Some(request) = withdrawal {
            self.send(w, packet.from, packet.id, request, false);
        }
        if answered {
            // A statement that waited computes what remains by a second reading: by the first, the caller would hold
            // too long.
            let second = self.store_now(w).max(w.record.last_now);
            let at = if self.setup.mutates(Mutation::RemainsByFirstReading) { now } else { second };
            self.answer(w, packet, &op, &applied.reply, applied.changed, at);
        }
        Some(())
    }

    /// A connection pool that withdraws a claim by itself, because the attempt that requested it has gone.
    fn pool_withdrawal(&self, op: &Op, reply: &Reply, answered: bool) -> Option<Request> {
        let granted = matches!((op, reply), (Op::Claim(_), Reply::Claim(ClaimReply::Granted(_))));
        (self.setup.breaks(Broken::PoolCancels) && granted && !answered).then_some(Request::Cancel)
    }

    fn changed(&self, w: &mut World, event: Option<Event>) {
        let heartbeat = event.is_none() && self.setup.mutation != Some(Mutation::SilentChange);
        if let Some(event) = event {
            Arc::make_mut(&mut w.log).push(event);
        }
        if !heartbeat && kernel::rebuild(w.log.iter()) != Rebuilt::from(&*w.record) {
            w.ghost.bad |= invariant::I12;
        }
        let at = self.reading(w, Delivery::Answered);
        if !liveness::leads_on(self.setup.mutation, &self.parts, &w.record, at) {
            w.ghost.bad |= invariant::L3;
        }
    }

    /// The reply reaches its sender; what it rests on is durable before, where a barrier requires that.
    fn answer(&self, w: &mut World, packet: Packet, op: &Op, reply: &Reply, changed: bool, now: StoreTime) {
        if let Some(standby) = &mut w.standby
            && let Some(on) = store::rests_on(self.setup.kind, op, reply)
        {
            if !self.setup.asynchronous && !store::replies_early(self.setup.mutation, on, changed) {
                *standby = (Arc::clone(&w.record), w.floor);
            }
            w.ghost.confirm(&w.record);
        }
        if packet.from >= OPERATORS {
            w.operators[usize::from(packet.from - OPERATORS)].receive(packet.request, reply);
            return;
        }
        if matches!(reply, Reply::Cancel(CancelReply::Untouched(_))) {
            return;
        }
        let left = |until: StoreTime| until.since(now).as_millis() as u64;
        let generation = w.ghost.generation;
        let worker = &mut w.workers[usize::from(packet.from)];
        if matches!(reply, Reply::Claim(ClaimReply::Granted(_))) {
            worker.generation = generation;
        }
        let effects = worker.receive(&packet, reply, &self.setup, left);
        self.apply_effects(w, packet.from, effects);
    }

    /// What a worker's step leads to.
    fn apply_effects(&self, w: &mut World, index: u8, effects: Effects) {
        let kind = self.setup.kind;
        if let Some(answer) = effects.answer
            && !w.workers[usize::from(index)].gone
        {
            self.check_answer(w, index, answer);
        }
        if effects.started {
            let worker = w.workers[usize::from(index)];
            let mono = self.mono(w);
            w.ghost.start(kind, Worker::claim_id(&self.setup, index), worker.incarnation, mono);
            if worker.denied {
                w.ghost.bad |= invariant::I6;
            }
        }
        w.ghost.allowed += i8::from(effects.vouched);
        if effects.wrote {
            let worker = w.workers[usize::from(index)];
            if let Phase::Running { token, .. } = worker.phase {
                w.ghost.write(token, worker.generation);
            }
        }
        if let Some(request) = effects.send {
            self.send(w, index, Worker::claim_id(&self.setup, index), request, effects.extra);
        }
        let running = w.workers.iter().filter(|worker| matches!(worker.phase, Phase::Running { .. })).count();
        if running > 1 && !w.ghost.overlap {
            w.ghost.bad |= invariant::L2;
        }
    }

    /// Spec §5, I6.
    fn check_answer(&self, w: &mut World, index: u8, answer: CallResult) {
        let ran = w.workers[usize::from(index)].ran;
        let recorded = |value: u8| w.ghost.recorded & (1 << value) != 0;
        let is_true = match answer {
            CallResult::NotRun => !ran,
            CallResult::Replayed(value) => !ran && recorded(value),
            CallResult::Completed(value) => ran && recorded(value),
            CallResult::Ran => ran,
        };
        if !is_true {
            w.ghost.bad |= invariant::I6;
        }
    }

    fn work(&self, w: &mut World, index: u8, step: Step) {
        let (now, mono) = (w.now, self.mono(w));
        if step == Step::Read {
            return self.read(w, index);
        }
        let running = matches!(w.workers[usize::from(index)].phase, Phase::Running { .. });
        let effects = w.workers[usize::from(index)].take(step, index, &self.setup, now, mono);
        if running && matches!(step, Step::Unknown | Step::Panic) {
            w.ghost.lands_until(mono + self.setup.late);
        }
        self.apply_effects(w, index, effects);
    }

    /// A client that settles a lost reply by reading: it finds its own begin, and takes that for a reply.
    fn read(&self, w: &mut World, index: u8) {
        let id = Worker::claim_id(&self.setup, index);
        let mine = w.record.claim_id.is_some_and(|holder| store::number(holder) == id);
        if mine && w.record.state == State::Executing {
            let left = |until: StoreTime| until.since(self.store_now(w)).as_millis() as u64;
            let (lease, hard) = (left(w.record.lease_until), left(w.record.hard_until));
            let (mono, token) = (self.mono(w), w.record.token.get());
            w.workers[usize::from(index)].phase =
                Phase::Ready { token, lease: mono + lease, hard: mono + hard };
        }
    }

    fn tick(&self, w: &mut World) -> Option<()> {
        (usize::from(w.now) + 1 < self.setup.clock.len()).then_some(())?;
        w.now += 1;
        w.floor_before = w.floor;
        let mono = self.mono(w);
        for worker in &mut w.workers {
            let before = worker.phase;
            worker.heed(&self.setup, mono);
            // Cut off at its deadline: whether it abandons, and when, changes nothing about its effect.
            if let (Phase::Running { until, .. }, Phase::Ended { .. }) = (before, worker.phase) {
                w.ghost.lands_until(until + self.setup.late);
            }
        }
        Some(())
    }

    fn purgeable(&self, w: &World) -> Option<(Token, Event)> {
        let mut record = Record::clone(&w.record);
        if self.setup.mutates(Mutation::PurgeUndecided) && !record.is_absent() {
            record.state = State::Free;
        }
        record.after_reset &= !self.setup.mutates(Mutation::PurgeAfterReset);
        let rest = if self.setup.mutates(Mutation::PurgeTooSoon) { PURGE_REST * 2 } else { Duration::ZERO };
        kernel::purge(&record, self.store_now(w).plus(rest)).filter(|_| self.setup.purge)
    }

    fn purge(&self, w: &mut World) -> Option<()> {
        let (floor, event) = self.purgeable(w)?;
        w.ghost.purged(&w.record);
        w.floor = w.floor.max(floor.get());
        w.record = Arc::new(Record::absent());
        self.changed(w, Some(event));
        Some(())
    }

    fn failover(&self, w: &mut World) -> Option<()> {
        let (record, floor) = w.standby.clone()?;
        // Taking over takes time: the standby's clock is past every reading of the server that is gone.
        self.tick(w)?;
        w.failovers -= 1;
        let kept = w.log.iter().take_while(|event| event.rev <= record.rev).count();
        Arc::make_mut(&mut w.log).truncate(kept);
        (w.record, w.floor) = (record, floor);
        w.ghost.failed_over(&w.record);
        Some(())
    }

    fn actors(&self, w: &World, actions: &mut Vec<Action>) {
        let mono = self.mono(w);
        for (index, worker) in (0..).zip(&w.workers) {
            // Workers alike start in order: which of them is first makes no difference.
            let before = usize::from(index).checked_sub(1);
            let alike = before.is_some_and(|before| {
                self.setup.workers[before] == self.setup.workers[usize::from(index)]
                    && w.workers[before].phase == Phase::Idle
            });
            if worker.phase == Phase::Idle && alike {
                continue;
            }
            let steps = worker.steps(&self.setup, w.extra, mono);
            actions.extend(steps.into_iter().map(|step| Action::Worker(index, step)));
        }
        for (index, operator) in (0..).zip(&w.operators) {
            let moves = operator.moves(&self.setup, index, w.extra, &w.record);
            actions.extend(moves.into_iter().map(|action| Action::Operator(index, action)));
        }
    }

    /// Whether its sender waits for the reply to this request.
    pub(crate) fn awaited(&self, w: &World, packet: &Packet) -> bool {
        match packet.from.checked_sub(OPERATORS) {
            Some(operator) => w.operators[usize::from(operator)].awaits(packet.request),
            None => w.workers[usize::from(packet.from)].awaits(packet.request),
        }
    }
}

impl Model for System {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let absent = Arc::new(Record::absent());
        vec![World {
            now: 0,
            record: Arc::clone(&absent),
            floor: 0,
            floor_before: 0,
            standby: (self.setup.failovers > 0).then_some((absent, 0)),
            net: Vec::new(),
            workers: self.setup.workers.iter().map(|_| Worker::new(&self.setup)).collect(),
            operators: (0..self.setup.operators).map(|_| Operator::new(&self.setup)).collect(),
            extra: self.setup.extra,
            failovers: self.setup.failovers,
            ghost: Ghost::new(),
            log: Arc::default(),
        }]
    }

    fn actions(&self, w: &World, actions: &mut Vec<Action>) {
        if usize::from(w.now) + 1 < self.setup.clock.len() {
            actions.push(Action::Tick);
        }
        for packet in &w.net {
            if self.awaited(w, packet) {
                actions.push(Action::Deliver(*packet, Delivery::Answered));
                if self.waited(w) {
                    actions.push(Action::Deliver(*packet, Delivery::Stale));
                }
            }
            actions.push(Action::Deliver(*packet, Delivery::ReplyLost));
            if w.extra > 0 {
                actions.push(Action::Deliver(*packet, Delivery::Repeated));
            }
        }
        self.actors(w, actions);
        if self.purgeable(w).is_some() {
            actions.push(Action::Purge);
        }
        if let Some((standby, _)) = &w.standby
            && w.failovers > 0
        {
            if *standby != w.record {
                actions.push(Action::Replicate);
            }
            actions.push(Action::Failover);
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        let w = &mut world;
        match action {
            Action::Tick => self.tick(w)?,
            Action::Deliver(packet, delivery) => self.deliver(last, w, packet, delivery)?,
            Action::Worker(index, step) => self.work(w, index, step),
            Action::Operator(index, action) => {
                let operator = &mut w.operators[usize::from(index)];
                let id = operator.op_id(index);
                let (request, extra) = operator.act(action, &last.record);
                if let Some(request) = request {
                    self.send(w, OPERATORS + index, id, request, extra);
                }
            }
            Action::Purge => self.purge(w)?,
            Action::Replicate => w.standby = Some((Arc::clone(&w.record), w.floor)),
            Action::Failover => self.failover(w)?,
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let asserted = |(bit, _): &&(u32, &str)| self.setup.asserted & bit != 0;
        invariant::ALL
            .iter()
            .filter(asserted)
            .map(|(bit, words)| Property::always(words, holds(*bit)))
            .collect()
    }
}

/// The condition that an invariant was never broken. A property is a plain function, so there is one for each bit.
fn holds(bit: u32) -> fn(&System, &World) -> bool {
    macro_rules! each {
        ($($n:literal)*) => {
            match bit.trailing_zeros() {
                $($n => |_, w| w.ghost.bad & (1 << $n) == 0,)*
                other => unreachable!("there is no invariant {other}"),
            }
        };
    }
    each!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18)
}
