//! Two threads that send one request each in the same instant, round by round.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::Stamped;
use sentinel_core::{Address, CoordinationStore, Event, Record, StoreError};

use crate::coordination::law_context::LawContext;

/// One side of a round starts later by a part of a request's duration: how many parts there are.
const PARTS: u64 = 61;

/// How many parts later than in the round before. It has no divisor in common with `PARTS`, so each part has its round.
const STRIDE: u64 = 23;

/// A pair of requests about one record, and what they found.
pub(crate) struct Round {
    /// Which record.
    pub(crate) address: Address,
    /// The record before the two requests.
    pub(crate) before: Record,
    /// Its events before them.
    pub(crate) events_before: Vec<Event>,
    /// The two requests.
    pub(crate) ops: [Op; 2],
}

/// What one side of a round sent.
#[derive(Debug)]
pub(crate) struct Sent {
    /// The store's reply.
    pub(crate) reply: Result<Stamped<Reply>, StoreError>,
    /// Just before the request was sent.
    started: Instant,
    /// Just after the reply came.
    ended: Instant,
}

impl Sent {
    /// Whether both requests were under way at one time.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.started < other.ended && other.started < self.ended
    }
}

/// Two threads that start together, and the shortest duration of a request so far.
#[derive(Debug)]
pub(crate) struct Lockstep {
    /// In nanoseconds; the greatest number before the first request.
    shortest: Arc<AtomicU64>,
}

impl Default for Lockstep {
    fn default() -> Self {
        Self { shortest: Arc::new(AtomicU64::new(u64::MAX)) }
    }
}

/// One request of a side.
type Request = (Arc<dyn CoordinationStore>, Address, Op);

impl Lockstep {
    /// Sends both requests of each round at once, in every second round through two handles where the harness has them.
    /// `before`: how many rounds went before these.
    pub(crate) async fn send(&self, context: &LawContext, rounds: &[Round], before: usize) -> [Vec<Sent>; 2] {
        let one = Arc::clone(context.store());
        let two = context.two_handles().await.unwrap_or_else(|| [Arc::clone(&one), Arc::clone(&one)]);
        let requests = |side: usize| -> Vec<Request> {
            let through = |round: usize| if round.is_multiple_of(2) { &one } else { &two[side] };
            let request = |(n, round): (usize, &Round)| {
                (Arc::clone(through(n)), round.address.clone(), round.ops[side].clone())
            };
            rounds.iter().enumerate().map(request).collect()
        };
        let (first, second) = (self.side(requests(0), 0, before), self.side(requests(1), 1, before));
        let both = move || {
            let start = StartLine::new(first.requests.len());
            std::thread::scope(|scope| {
                [first, second]
                    .map(|side| scope.spawn(|| side.send(&start)))
                    .map(|thread| thread.join().expect("no panic"))
            })
        };
        let sent = tokio::task::spawn_blocking(both).await.expect("no panic");
        context.forget();
        sent
    }

    /// What the first (0) or the second (1) thread does.
    fn side(&self, requests: Vec<Request>, side: usize, before: usize) -> Side {
        let runtime = tokio::runtime::Handle::current();
        Side { requests, side, before, shortest: Arc::clone(&self.shortest), runtime }
    }
}

/// What one of the two threads does.
struct Side {
    /// One of each round.
    requests: Vec<Request>,
    /// Whether it is the first (0) or the second (1).
    side: usize,
    /// How many rounds went before these.
    before: usize,
    /// The shortest duration of a request so far.
    shortest: Arc<AtomicU64>,
    /// Where requests run.
    runtime: tokio::runtime::Handle,
}

impl Side {
    /// Sends one request of each round, in half of them later by a part of a request's duration.
    fn send(self, start: &StartLine) -> Vec<Sent> {
        stay_on_a_processor(self.side);
        let leaving = Leaving(start);
        let mut all = Vec::new();
        for (round, (store, address, op)) in self.requests.into_iter().enumerate() {
            let request = op.send(&*store, &address);
            let part = (self.before + round) as u64 * STRIDE % PARTS;
            let delay = match self.shortest.load(Ordering::Relaxed) {
                _ if round / 2 % 2 == self.side => 0,
                u64::MAX => 0,
                nanos => nanos * part / PARTS,
            };
            leaving.0.wait_for_other(round);
            spin(Duration::from_nanos(delay), || false);
            let started = now();
            let reply = self.runtime.block_on(request);
            let ended = now();
            let took = u64::try_from((ended - started).as_nanos()).unwrap_or(u64::MAX);
            self.shortest.fetch_min(took, Ordering::Relaxed);
            all.push(Sent { reply, started, ended });
        }
        all
    }
}

/// Two threads that take turns on one processor overlap by luck only, so each gets its own where there are two.
#[cfg(target_os = "linux")]
fn stay_on_a_processor(side: usize) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let mut processors = (0..CpuSet::MAX_CPU).filter(|&processor| allowed.is_set(processor));
    let Some(mine) = processors.nth(side) else { return };
    let mut only = CpuSet::new();
    only.set(mine);
    // Without it, fewer rounds overlap, and more of them follow.
    let _ = sched_setaffinity(None, &only);
}

/// Other systems decide alone where a thread runs.
#[cfg(not(target_os = "linux"))]
fn stay_on_a_processor(_side: usize) {}

/// The time of this machine.
#[expect(
    clippy::disallowed_methods,
    reason = "it decides only whether more rounds are needed, never what is right"
)]
fn now() -> Instant {
    Instant::now()
}

/// Waits on the processor: a sleep would be far longer than a request to a store in memory. Whether `done` came true.
fn spin(at_most: Duration, done: impl Fn() -> bool) -> bool {
    let until = now() + at_most;
    while !done() {
        if now() >= until {
            return false;
        }
        std::hint::spin_loop();
    }
    true
}

/// Where both threads wait for each other before each round.
#[derive(Debug)]
struct StartLine {
    /// How often a thread has arrived.
    arrived: AtomicUsize,
    /// How many rounds there are.
    rounds: usize,
}

impl StartLine {
    /// Before the first round.
    fn new(rounds: usize) -> Self {
        Self { arrived: AtomicUsize::new(0), rounds }
    }

    /// Waits until both threads have come to a round. It spins long enough that both run at one time, also if other
    /// programs use the processor in between.
    fn wait_for_other(&self, round: usize) {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        let both = || self.arrived.load(Ordering::SeqCst) >= 2 * (round + 1);
        while !spin(Duration::from_millis(2), both) {
            std::thread::yield_now();
        }
    }
}

/// Lets the other thread continue alone, also if the store panics in this one.
struct Leaving<'a>(&'a StartLine);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.arrived.fetch_add(2 * self.0.rounds, Ordering::SeqCst);
    }
}
