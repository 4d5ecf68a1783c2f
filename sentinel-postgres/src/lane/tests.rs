//! Who goes where, and who is turned away: without a server.

use sqlx::postgres::PgConnectOptions;

use super::pair::{BACKLOG, CALM, Pair};
use super::replay::{Ask, ReplayLane};
use super::*;
use crate::source::Source;

/// Notes whom it was told to refuse.
#[derive(Default)]
struct Refusals(Mutex<Vec<(u32, ErrorKind)>>);

impl Freight for Refusals {
    type Item = u32;

    fn load(&self, waiting: &mut VecDeque<u32>, _: usize) -> Vec<u32> {
        waiting.drain(..).collect()
    }

    async fn ship(&self, _: &mut Link, _: Vec<u32>) {}

    fn refuse(&self, item: u32, error: StoreError) {
        self.0.lock().unwrap().push((item, error.kind()));
    }
}

fn lane() -> Lane<Refusals> {
    let dialer = Dialer::new(Source::options(PgConnectOptions::new()), Duration::from_secs(10), None, false);
    Lane::new(Refusals::default(), Arc::new(dialer), Patience(Duration::from_secs(1)))
}

#[test]
fn what_would_wait_too_long_is_turned_away() {
    let lane = lane();
    lane.outstanding.store(WAITING, Ordering::Relaxed);
    lane.send(7);
    assert_eq!(*lane.freight.0.lock().unwrap(), [(7, ErrorKind::Busy)]);
    assert_eq!(lane.outstanding(), WAITING, "who was turned away is not owed an answer");
}

#[test]
fn two_lanes_take_turns_from_a_backlog_until_it_is_calm() {
    let pair = Pair::new(lane);
    let owe = |first: usize, second: usize| {
        pair.lanes[0].outstanding.store(first, Ordering::Relaxed);
        pair.lanes[1].outstanding.store(second, Ordering::Relaxed);
    };
    // Whoever notices a backlog, or its end, still goes as those before.
    let second = || {
        pair.next();
        (0..4).filter(|_| std::ptr::eq(pair.next(), &raw const pair.lanes[1])).count()
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
        owe(first, other);
        assert_eq!(second(), expected, "{first} and {other} are outstanding");
    }
}

#[test]
fn one_statement_reads_one_namespace_in_the_order_of_who_came() {
    use sentinel_core::{Key, Namespace};
    let lane = ReplayLane { sql: sqlx::SqlStr::from_static("SELECT 1"), offset: Arc::default() };
    let batches = |names: &[(&str, &str)], cap: usize| {
        let ask = |(namespace, key): &(&str, &str)| {
            Ask::new(Namespace::new(*namespace).unwrap(), Key::new(*key).unwrap()).0
        };
        let (mut waiting, mut batches) = (names.iter().map(ask).collect::<VecDeque<_>>(), Vec::new());
        while !waiting.is_empty() {
            let batch = lane.load(&mut waiting, cap);
            batches.push(batch.iter().map(|ask| ask.key().to_string()).collect::<String>());
        }
        batches
    };
    assert_eq!(batches(&[("x", "a"), ("x", "b"), ("x", "c")], 3), ["abc"]);
    assert_eq!(batches(&[("x", "a"), ("x", "b"), ("x", "c")], 2), ["ab", "c"]);
    assert_eq!(batches(&[("x", "a"), ("y", "b"), ("x", "c")], 3), ["ac", "b"]);
    assert_eq!(batches(&[("x", "a"), ("y", "b"), ("x", "c"), ("x", "d")], 2), ["ac", "b", "d"]);
}
