//! How many fresh executions a second the store carries out, against bare commits of one row with the same settings.
//! All figures of one line of ratios come from one interleaved run: `cargo bench -p sentinel-sqlite`.

#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark")]

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use sentinel_core::operation::*;
use sentinel_core::{
    Address, ClaimId, CoordinationStore as _, Grant, Key, Label, Namespace, Payload, Recorded, Terms,
};
use sentinel_sqlite::SqliteStore;

const ROUNDS: usize = 7;
const COMPANY: usize = 64;
/// Operations of one measurement: by one caller, and by many.
const ALONE: usize = 1500;
const TOGETHER: usize = 9600;

fn main() {
    let (mut bare, mut handed, mut alone) = (vec![], vec![], vec![]);
    let (mut together, mut replays) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        let dir = tempfile::tempdir_in(std::env::var_os("BENCH_DIR").unwrap_or_else(|| ".".into())).unwrap();
        bare.push(insert(&dir.path().join("bare.db"), ALONE * 2));
        handed.push(insert_by_a_thread(&dir.path().join("handed.db"), ALONE * 2));
        alone.push(once(&dir.path().join("alone.db"), 1, ALONE));
        together.push(once(&dir.path().join("together.db"), COMPANY, TOGETHER));
        replays.push(replay(&dir.path().join("together.db"), COMPANY, TOGETHER));
    }
    let [bare, handed, alone, together, replays] = [bare, handed, alone, together, replays].map(median);
    println!("bare INSERT commits      {bare:>9.0} /s");
    println!(
        "the same, by a thread    {handed:>9.0} /s   as asynchronous code must: it may not wait for a disk"
    );
    let (of_bare, of_handed) = (alone / bare, alone / handed);
    println!(
        "once, 1 caller           {alone:>9.0} /s   {of_bare:.2} of a commit, {of_handed:.2} of one by a thread"
    );
    println!("once, {COMPANY} callers         {together:>9.0} /s   {:.2} of a commit", together / bare);
    println!("replay, {COMPANY} callers       {replays:>9.0} /s   {:.2} of a commit", replays / bare);
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// One row for each commit: the floor of anything durable in this file format.
fn insert(path: &Path, count: usize) -> f64 {
    let connection = bare(path);
    let mut statement = connection.prepare(INSERT).unwrap();
    let start = Instant::now();
    for n in 0..count {
        statement.execute(params![key(n).as_str(), [7_u8; 100]]).unwrap();
    }
    rate(count, start.elapsed())
}

/// The same, each handed to a thread that owns the connection, and awaited.
fn insert_by_a_thread(path: &Path, count: usize) -> f64 {
    let (hand, handed) = std::sync::mpsc::channel::<(usize, tokio::sync::oneshot::Sender<()>)>();
    let path = path.to_owned();
    let thread = std::thread::spawn(move || {
        let connection = bare(&path);
        let mut statement = connection.prepare(INSERT).unwrap();
        for (n, done) in handed {
            statement.execute(params![key(n).as_str(), [7_u8; 100]]).unwrap();
            done.send(()).unwrap();
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let start = Instant::now();
    runtime.block_on(async {
        for n in 0..count {
            let (done, wait) = tokio::sync::oneshot::channel();
            hand.send((n, done)).unwrap();
            wait.await.unwrap();
        }
    });
    let rate = rate(count, start.elapsed());
    drop(hand);
    thread.join().unwrap();
    rate
}

const INSERT: &str = "INSERT INTO bare (key, body) VALUES (?1, ?2)";

fn bare(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    connection.execute_batch("CREATE TABLE bare (id INTEGER PRIMARY KEY, key TEXT, body BLOB)").unwrap();
    connection
}

/// A fused claim and a completion for each key.
fn once(path: &Path, callers: usize, count: usize) -> f64 {
    each(path, callers, count, async |store, address| {
        let claim = claim();
        let ClaimReply::Granted(granted) = store.claim(&address, &claim).await.unwrap().reply else {
            panic!("not granted")
        };
        let grant = Grant { token: granted.token, claim_id: claim.claim_id };
        let result = Recorded::success(Payload::new(Payload::OCTETS, vec![7; 100]));
        store.complete(&address, &Complete { grant, result }).await.unwrap();
    })
}

/// A claim for each key that was completed before; the first time around teaches the store which those are.
fn replay(path: &Path, callers: usize, count: usize) -> f64 {
    let ask = async |store: &SqliteStore, address: Address| {
        let reply = store.claim(&address, &claim()).await.unwrap().reply;
        assert!(matches!(reply, ClaimReply::Completed { .. }));
    };
    each(path, callers, count, ask)
}

/// Shares `count` keys among concurrent callers of one store.
fn each(path: &Path, callers: usize, count: usize, call: impl AsyncFn(&SqliteStore, Address)) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(path).await.unwrap();
        let start = Instant::now();
        let caller = async |caller: usize| {
            for n in (caller..count).step_by(callers) {
                let namespace = Namespace::new("bench").unwrap();
                call(&store, Address::execution(namespace, key(n))).await;
            }
        };
        let mut all: Vec<_> = (0..callers).map(|n| Box::pin(caller(n))).collect();
        std::future::poll_fn(|context| {
            all.retain_mut(|caller| caller.as_mut().poll(context).is_pending());
            if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        rate(count, start.elapsed())
    })
}

fn claim() -> Claim {
    Claim {
        claim_id: ClaimId::random(),
        terms: Terms::new(Duration::from_secs(10), Duration::from_secs(3600)).unwrap(),
        retention: None,
        fingerprint: None,
        worker: Label::new("bench:1").unwrap(),
        phase: Phase::Executing,
    }
}

fn key(n: usize) -> Key {
    Key::new(format!("invoice-{n:08}")).unwrap()
}
