//! Which batcher takes an item, and which items are refused: without a server.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sentinel_core::{ErrorKind, StoreError};
use sqlx::postgres::PgConnectOptions;

use super::batcher::{BatchExecutor, Batcher, MAX_OUTSTANDING};
use super::pair::{BACKLOG, BatcherPair, CALM};
use crate::connection::connector::Connector;
use crate::connection::session::{Connection, LockTimeout};
use crate::connection::source::Source;

/// Records what it refused.
#[derive(Default)]
struct Refusals(Mutex<Vec<(u32, ErrorKind)>>);

impl BatchExecutor for Refusals {
    type Item = u32;

    fn take_batch(&self, waiting: &mut VecDeque<u32>, _: usize) -> Vec<u32> {
        waiting.drain(..).collect()
    }

    async fn execute(&self, _: &mut Connection, _: Vec<u32>) {}

    fn refuse(&self, item: u32, error: StoreError) {
        self.0.lock().unwrap().push((item, error.kind()));
    }
}

fn batcher() -> Batcher<Refusals> {
    let connector =
        Connector::new(Source::options(PgConnectOptions::new()), Duration::from_secs(10), None, false);
    Batcher::new(Refusals::default(), Arc::new(connector), LockTimeout(Duration::from_secs(1)))
}

#[test]
fn an_item_above_the_limit_is_refused() {
    let batcher = batcher();
    batcher.outstanding.store(MAX_OUTSTANDING, Ordering::Relaxed);
    batcher.send(7);
    assert_eq!(*batcher.executor.0.lock().unwrap(), [(7, ErrorKind::Busy)]);
    assert_eq!(batcher.outstanding(), MAX_OUTSTANDING, "a refused item is not outstanding");
}

#[test]
fn two_batchers_share_a_backlog_until_it_is_small() {
    let pair = BatcherPair::new(batcher);
    let set_outstanding = |first: usize, second: usize| {
        pair.batchers[0].outstanding.store(first, Ordering::Relaxed);
        pair.batchers[1].outstanding.store(second, Ordering::Relaxed);
    };
    // The call that notices a backlog, or its end, is still handled as those before.
    let second = || {
        pair.pick();
        (0..4).filter(|_| std::ptr::eq(pair.pick(), &raw const pair.batchers[1])).count()
    };
    for ((first, other), expected) in [
        ((0, 0), 0),
        ((BACKLOG - 1, 0), 0),
        ((BACKLOG - 1, 1), 2),
        ((CALM, 0), 2),
        ((0, CALM), 2),
        ((CALM - 1, 0), 0),
        ((CALM, 0), 0),
    ] {
        set_outstanding(first, other);
        assert_eq!(second(), expected, "{first} and {other} are outstanding");
    }
}
