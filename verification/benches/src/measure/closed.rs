//! The closed loop: each caller waits for its reply before it sends again. For throughput.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Op, Sample, histogram};

/// Runs this many callers for this duration. Numbers continue from `next`.
pub(crate) async fn closed(callers: usize, span: Duration, next: &Arc<AtomicU64>, op: &Op) -> Sample {
    let start = Instant::now();
    let callers = (0..callers).map(|_| tokio::spawn(caller(start, span, Arc::clone(next), Arc::clone(op))));
    let mut all = histogram();
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap().into_iter().for_each(|took| all.saturating_record(took));
    }
    let sample = Sample::of(all.len() as f64, start.elapsed().as_secs_f64());
    Sample { latencies: Some(all), ..sample }
}

/// Nanoseconds of each operation.
async fn caller(start: Instant, span: Duration, next: Arc<AtomicU64>, op: Op) -> Vec<u64> {
    let (mut took, mut before) = (Vec::new(), start.elapsed());
    while before < span {
        op(next.fetch_add(1, Ordering::Relaxed)).await;
        let after = start.elapsed();
        took.push((after - before).as_nanos() as u64);
        before = after;
    }
    took
}
