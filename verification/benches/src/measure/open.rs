//! The open loop: operations arrive at a fixed rate, whether earlier ones have completed or not. For latency: it is
//! counted from the moment at which an operation was due, so that one that had to wait to be sent has waited.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::{Op, histogram, latency};
use crate::report::Open;

/// `rate` arrivals a second during `span`, and then until all have completed.
pub(crate) fn open(runtime: &Runtime, rate: f64, span: Duration, next: &Arc<AtomicU64>, op: &Op) -> Open {
    let (sender, mut taken) = mpsc::unbounded_channel();
    // From this thread and not from a task: the runtime's timers are a millisecond coarse.
    arrivals(rate, span, |due| {
        let (sender, arrival) = (sender.clone(), op(next.fetch_add(1, Ordering::Relaxed)));
        runtime.spawn(async move {
            arrival.await;
            // The receiver below is still there.
            let _ = sender.send(due.elapsed().as_nanos() as u64);
        });
    });
    drop(sender);
    let mut all = histogram();
    runtime.block_on(async {
        while let Some(took) = taken.recv().await {
            all.saturating_record(took);
        }
    });
    Open { rate, latency: latency(&all) }
}

/// Calls for each arrival with the moment at which it was due: never before it, and after it by as much as this thread
/// is late.
fn arrivals(rate: f64, span: Duration, mut arrive: impl FnMut(Instant)) {
    let (start, count) = (Instant::now(), (rate * span.as_secs_f64()) as u64);
    for n in 0..count.max(1) {
        let due = start + Duration::from_secs_f64(n as f64 / rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        arrive(due);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_to_be_sent_is_part_of_the_latency() {
        // The first arrival blocks the others: those that were due meanwhile are late by the rest of it.
        let (start, mut late) = (Instant::now(), Vec::new());
        arrivals(1000.0, Duration::from_millis(20), |due| {
            if late.is_empty() {
                std::thread::sleep(Duration::from_millis(50));
            }
            late.push((due, due.elapsed()));
        });
        assert_eq!(late.len(), 20);
        assert!(late.iter().all(|(due, late)| *due + *late >= start + Duration::from_millis(50)));
        // Due when they would have been without the block.
        let until_the_last = late[19].0 - late[0].0;
        assert_eq!(until_the_last.as_millis(), 19, "{until_the_last:?}");
    }
}
