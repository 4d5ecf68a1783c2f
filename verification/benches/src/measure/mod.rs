//! How things are measured.

pub(crate) mod closed;
pub(crate) mod cpu;
pub(crate) mod loops;
pub(crate) mod open;
mod trial;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hdrhistogram::Histogram;

use crate::report::Latency;
pub(crate) use trial::Trial;

/// One operation, given its number: each number is used once.
pub(crate) type Op = Arc<dyn Fn(u64) -> BoxFuture<'static, ()> + Send + Sync>;

/// One measurement of one side, for about this duration.
pub(crate) type Run<'a> = Box<dyn FnMut(Duration) -> Sample + 'a>;

/// The result of one side in one round.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Operations a second.
    pub(crate) rate: f64,
    /// How many operations, those included that did not count into the rate.
    pub(crate) done: f64,
    /// Nanoseconds of single operations, if they were measured.
    pub(crate) latencies: Option<Histogram<u64>>,
}

impl Sample {
    /// A rate from a number of operations and the seconds that they took.
    pub(crate) fn of(done: f64, seconds: f64) -> Self {
        Self { rate: done / seconds, done, latencies: None }
    }
}

/// Makes an operation of an async function.
pub(crate) fn op<F>(one: impl Fn(u64) -> F + Send + Sync + 'static) -> Op
where
    F: Future<Output = ()> + Send + 'static,
{
    Arc::new(move |n| Box::pin(one(n)))
}

/// Up to a minute, to three digits. What takes longer counts as that.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap()
}

pub(crate) fn latency(of: &Histogram<u64>) -> Latency {
    let micros = |quantile| of.value_at_quantile(quantile) as f64 / 1e3;
    Latency { p50: micros(0.5), p99: micros(0.99) }
}
