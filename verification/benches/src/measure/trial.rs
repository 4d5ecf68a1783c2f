//! One cell: ours, its baseline and others, one after the other, round by round, so that what slows one slows all.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::{Op, Run, closed::closed, histogram, latency, open::open};
use crate::context::BenchContext;
use crate::report::{Cell, Goal, Side};
use crate::target::Target;

/// Before the first round, and in none of them: connections, prepared statements, caches.
const WARM_UP: Duration = Duration::from_millis(300);

/// A second: what one thread can send without being late itself.
const MOST_ARRIVALS: f64 = 50_000.0;

/// A cell that is about to be measured.
pub(crate) struct Trial<'a> {
    context: &'a BenchContext,
    cell: Cell,
    span: Duration,
    ours: Option<Run<'a>>,
    baseline: Option<Run<'a>>,
    others: Vec<Run<'a>>,
    op: Option<(Op, Arc<AtomicU64>)>,
}

impl<'a> Trial<'a> {
    pub(crate) fn new(
        context: &'a BenchContext,
        workload: impl Into<String>,
        target: Target,
        callers: usize,
    ) -> Self {
        let cell = Cell {
            workload: workload.into(),
            target,
            callers,
            ours: Side::new("ours"),
            baseline: None,
            others: Vec::new(),
            latency: None,
            open: None,
            goal: None,
        };
        Self {
            context,
            cell,
            span: context.plan.span,
            ours: None,
            baseline: None,
            others: Vec::new(),
            op: None,
        }
    }

    /// Measures each side during `span` instead of the plan's.
    pub(crate) fn span(mut self, span: Duration) -> Self {
        self.span = span;
        self
    }

    /// Ours, in the closed loop of the cell's callers and then in the open loop.
    pub(crate) fn ours(self, op: Op) -> Self {
        let next = Arc::new(AtomicU64::new(0));
        let (context, callers) = (self.context, self.cell.callers);
        let (looped, numbers) = (Arc::clone(&op), Arc::clone(&next));
        let run = move |span| context.runtime.block_on(closed(callers, span, &numbers, &looped));
        let trial = self.ours_by(Box::new(run));
        Self { op: Some((op, next)), ..trial }
    }

    /// Ours, without an open loop: at one caller its rate would be the closed one's, and some operations share keys.
    pub(crate) fn ours_by(self, run: Run<'a>) -> Self {
        Self { ours: Some(run), ..self }
    }

    pub(crate) fn baseline(mut self, name: &str, run: Run<'a>) -> Self {
        self.cell.baseline = Some(Side::new(name));
        self.baseline = Some(run);
        self
    }

    /// The same, for an operation.
    pub(crate) fn baseline_op(self, name: &str, op: Op) -> Self {
        let run = self.looped(op);
        self.baseline(name, run)
    }

    /// A alternative, or another way of ours.
    pub(crate) fn other(mut self, name: &str, run: Run<'a>) -> Self {
        self.cell.others.push(Side::new(name));
        self.others.push(run);
        self
    }

    /// The same, for an operation.
    pub(crate) fn other_op(self, name: &str, op: Op) -> Self {
        let run = self.looped(op);
        self.other(name, run)
    }

    fn looped(&self, op: Op) -> Run<'a> {
        let (context, callers, next) = (self.context, self.cell.callers, Arc::new(AtomicU64::new(0)));
        Box::new(move |span| context.runtime.block_on(closed(callers, span, &next, &op)))
    }

    pub(crate) fn goal(mut self, goal: Option<Goal>) -> Self {
        self.cell.goal = goal;
        self
    }

    /// Measures all sides in each round.
    pub(crate) fn measure(mut self) -> Cell {
        let mut all = histogram();
        let mut ours = self.ours.take().unwrap();
        ours(WARM_UP.min(self.span / 2));
        for _ in 0..self.context.plan.rounds {
            measure_side(self.baseline.as_mut(), self.cell.baseline.as_mut(), self.span, None);
            measure_side(Some(&mut ours), Some(&mut self.cell.ours), self.span, Some(&mut all));
            for (run, side) in self.others.iter_mut().zip(&mut self.cell.others) {
                measure_side(Some(run), Some(side), self.span, None);
            }
        }
        self.cell.latency = (!all.is_empty()).then(|| latency(&all));
        self.cell.open = self.at_half_the_rate();
        self.cell
    }

    fn at_half_the_rate(&self) -> Option<crate::report::Open> {
        let ((op, next), rate) = (self.op.as_ref()?, (self.cell.ours.rate()? / 2.0).min(MOST_ARRIVALS));
        Some(open(&self.context.runtime, rate, self.span, next, op))
    }
}

/// Measures one side once, if there is one.
fn measure_side(
    run: Option<&mut Run<'_>>,
    side: Option<&mut Side>,
    span: Duration,
    all: Option<&mut Histogram<u64>>,
) {
    let (Some(run), Some(side)) = (run, side) else { return };
    let sample = run(span);
    side.rates.push(sample.rate);
    if let (Some(all), Some(of)) = (all, sample.latencies) {
        all.add(of).unwrap();
    }
}
