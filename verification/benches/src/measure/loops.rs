//! The loop of one caller that is so fast that reading the clock would cost more than what is measured.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::{Sample, histogram};

/// One of this many operations is measured on its own.
const MEASURED_EACH: usize = 61;

/// Batches of `each` operations on what `fresh` makes anew for each batch, until this much time was spent in them.
pub(crate) async fn batches<T>(
    span: Duration,
    each: usize,
    mut fresh: impl FnMut() -> T,
    mut one: impl AsyncFnMut(&mut T, usize),
) -> Sample {
    let (mut spent, mut done, mut all) = (Duration::ZERO, 0_u64, histogram());
    while spent < span {
        let mut on = fresh();
        let start = Instant::now();
        for n in 0..each {
            if n % MEASURED_EACH == 0 {
                let start = Instant::now();
                one(&mut on, n).await;
                all.saturating_record(start.elapsed().as_nanos() as u64);
            } else {
                one(&mut on, n).await;
            }
        }
        spent += start.elapsed();
        done += each as u64;
        black_box(on);
    }
    Sample { latencies: Some(all), ..Sample::of(done as f64, spent.as_secs_f64()) }
}

/// One operation after the other, each long enough for a reading of the clock.
pub(crate) fn one_by_one(span: Duration, mut one: impl FnMut(u64)) -> Sample {
    let (start, mut done) = (Instant::now(), 0);
    while start.elapsed() < span {
        one(done);
        done += 1;
    }
    Sample::of(done as f64, start.elapsed().as_secs_f64())
}
