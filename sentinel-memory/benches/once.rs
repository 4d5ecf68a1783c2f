//! Nanoseconds for a fresh `once` and for a replay, in memory, against a mutex-guarded hash map that does the same
//! writes: a record and two events for each key. All in one run, interleaved; the median of the rounds counts.
//!
//! `cargo bench -p sentinel-memory`

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs, reason = "a program that prints figures")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures with the clock of the machine")]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sentinel_core::client::Sentinel;
use sentinel_core::operation::{Claim, ClaimReply, Complete, Phase};
use sentinel_core::{
    Address, Change, ClaimId, CoordinationStore, Event, Grant, Key, Label, Namespace, Payload, Record,
    Recorded, State, StoreTime, Terms, Token, Verdict,
};
use sentinel_memory::MemoryStore;

const KEYS: usize = 10_000;
const ROUNDS: usize = 9;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let addresses: Vec<_> = (0..KEYS)
        .map(|n| {
            Address::execution(Namespace::new("bench").unwrap(), Key::new(format!("invoice-{n}")).unwrap())
        })
        .collect();
    let mut figures: HashMap<&str, Vec<f64>> = HashMap::new();
    let mut note = |name, took: Duration| {
        figures.entry(name).or_default().push(took.as_nanos() as f64 / KEYS as f64);
    };
    for _ in 0..ROUNDS {
        let map = Map::default();
        note("map fresh", timed(|| addresses.iter().for_each(|a| map.fresh(a))));
        note("map replay", timed(|| addresses.iter().for_each(|a| drop(black_box(map.replay(a))))));
        let store = MemoryStore::new();
        note("store fresh", timed(|| runtime.block_on(store_fresh(&store, &addresses))));
        note("store replay", timed(|| runtime.block_on(store_replay(&store, &addresses))));
        let sentinel = Sentinel::new(MemoryStore::new()).namespace("bench").unwrap();
        note("once fresh", timed(|| runtime.block_on(once(&sentinel, &addresses))));
        note("once replay", timed(|| runtime.block_on(once(&sentinel, &addresses))));
    }
    let median = |name: &str| {
        let mut all = figures[name].clone();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    println!("{KEYS} keys, median of {ROUNDS} interleaved rounds, nanoseconds each");
    println!("{:<44}{:>8} {:>8}", "", "fresh", "replay");
    for (name, label) in [
        ("map", "mutex-guarded hash map, the same writes"),
        ("store", "MemoryStore: claim and complete, no task"),
        ("once", "once: checked, encoded, run in its own task"),
    ] {
        let (fresh, replay) = (median(&format!("{name} fresh")), median(&format!("{name} replay")));
        println!("{label:<44}{fresh:>8.0} {replay:>8.0}");
    }
    let ratio = |kind: &str| median(&format!("store {kind}")) / median(&format!("map {kind}"));
    println!("ratio, store to map: fresh {:.2} (at most 2.5), replay {:.2}", ratio("fresh"), ratio("replay"));
}

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

/// What somebody would write who needs no rules: the same record, the same events, no guards.
#[derive(Default)]
struct Map(Mutex<HashMap<Address, (Record, Vec<Event>), foldhash::fast::RandomState>>);

impl Map {
    fn fresh(&self, address: &Address) {
        let (claim, result) = (claim(), result());
        let now = now();
        let token = Token::new(now.as_micros()).unwrap();
        let record = Record {
            state: State::Executing,
            token,
            claim_id: Some(claim.claim_id),
            incarnation: token.get(),
            worker: Some(claim.worker.clone()),
            terms: Some(claim.terms),
            claimed_at: Some(now),
            begun_at: Some(now),
            lease_until: now.plus(claim.terms.ttl()),
            hard_until: now.plus(claim.terms.hard_ttl()),
            rev: 1,
            last_now: now,
            ..Record::absent()
        };
        let (terms, incarnation) = (claim.terms, record.incarnation);
        let claimed = Change::Claimed { terms, retention: None, fingerprint: None, incarnation, begun: true };
        let events = vec![event(&record, claimed, None)];
        self.0.lock().unwrap().insert(address.clone(), (record, events));

        let mut map = self.0.lock().unwrap();
        let (record, events) = map.get_mut(address).unwrap();
        record.state = State::Completed;
        record.rev += 1;
        record.completed_at = Some(now);
        record.result = Some(result);
        let completed = Change::Completed { verdict: Verdict::Success, code: None, late: false };
        events.push(event(record, completed, Some(State::Executing)));
    }

    fn replay(&self, address: &Address) -> Option<Recorded> {
        self.0.lock().unwrap().get(address).and_then(|(record, _)| record.result.clone())
    }
}

fn event(record: &Record, change: Change, from: Option<State>) -> Event {
    Event {
        rev: record.rev,
        change,
        from,
        to: Some(record.state),
        token: record.token,
        claim_id: record.claim_id,
        op_id: None,
        worker: record.worker.clone(),
        operator: None,
        reason: None,
        at: record.last_now,
    }
}

fn now() -> StoreTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    StoreTime::from_micros(since.as_micros() as u64)
}

thread_local! {
    static WORKER: Label = Label::new("host:1").unwrap();
    static RESULT: Recorded = Recorded::success(Payload::new(Payload::JSON, "\"receipt\""));
}

fn claim() -> Claim {
    let terms = Terms::new(Duration::from_secs(10), Duration::from_secs(60)).unwrap();
    Claim {
        claim_id: ClaimId::random(),
        terms,
        retention: None,
        fingerprint: None,
        worker: WORKER.with(Clone::clone),
        phase: Phase::Executing,
    }
}

fn result() -> Recorded {
    RESULT.with(Clone::clone)
}

async fn store_fresh(store: &MemoryStore, addresses: &[Address]) {
    for address in addresses {
        let claim = claim();
        let ClaimReply::Granted(granted) = store.claim(address, &claim).await.unwrap().reply else {
            panic!("not granted")
        };
        let grant = Grant { token: granted.token, claim_id: claim.claim_id };
        black_box(store.complete(address, &Complete { grant, result: result() }).await.unwrap());
    }
}

async fn store_replay(store: &MemoryStore, addresses: &[Address]) {
    for address in addresses {
        black_box(store.claim(address, &claim()).await.unwrap());
    }
}

async fn once(sentinel: &Sentinel, addresses: &[Address]) {
    for address in addresses {
        let run = sentinel.once::<std::io::Error>(&address.key).run(|_| async { Ok("receipt".to_owned()) });
        let _ = black_box(run.await.unwrap());
    }
}
