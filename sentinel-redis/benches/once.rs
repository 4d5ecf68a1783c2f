//! What coordination costs on Redis, against what the server's own benchmark program gets for the least that could be done.
//! Figures of one table come from one interleaved run: `cargo bench -p sentinel-redis -- [TABLE..]`, where TABLE is `fresh`,
//! `replay`, `heartbeat`, `memory` or `cpu`; all without one. `everysec` beside them changes the server from AOF always.

#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sentinel_core::operation::*;
use sentinel_core::{
    Address, ClaimId, CoordinationStore, Grant, Key, Kind, Label, Namespace, Payload, Recorded, Sentinel,
    Terms,
};
use sentinel_redis::RedisStore;
use sentinel_testbed::Redis;
use sentinel_testbed::redis::{Fsync, Options};

/// Rounds of one table; each cell is the median.
const ROUNDS: usize = 3;
/// How long one cell is measured in one round.
const CELL: Duration = Duration::from_secs(2);
const CALLERS: [usize; 4] = [1, 8, 32, 128];

type Runtime = tokio::runtime::Runtime;

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let fsync = if asked.iter().any(|name| name == "everysec") { Fsync::EverySecond } else { Fsync::Always };
    let any = asked.iter().any(|name| name != "everysec");
    let wanted = |table: &str| asked.iter().any(|name| name == table) || !any;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // Redis writes its file anew in a process of its own when it has doubled: in no figure by chance.
    let options = Options::default().append_fsync(fsync).setting("auto-aof-rewrite-percentage", "0");
    let bed = Bed { server: Redis::start(options) };
    runtime.block_on(RedisStore::init(&bed.server.url())).unwrap();
    type Table = fn(&Bed, &Runtime);
    let tables: [(&str, Table); 5] =
        [("cpu", cpu), ("memory", memory), ("fresh", fresh), ("replay", replay), ("heartbeat", heartbeat)];
    for (name, table) in tables {
        if wanted(name) {
            println!("\n== {name}, appendfsync {fsync:?}");
            table(&bed, &runtime);
        }
    }
}

struct Bed {
    server: Redis,
}

impl Bed {
    async fn store(&self) -> RedisStore {
        RedisStore::connect(&self.server.url()).await.unwrap()
    }

    /// Commands a second, by so many connections that each send one command at a time, for about as long as a cell.
    fn floor(&self, clients: usize, command: &[&str]) -> f64 {
        let run = |requests: u64| {
            let mut benchmark = self.server.command("redis-benchmark");
            benchmark.args([
                "-h",
                "127.0.0.1",
                "-p",
                &self.server.port().to_string(),
                "--csv",
                "-r",
                "100000000",
            ]);
            benchmark.args(["-c", &clients.to_string(), "-n", &requests.to_string()]).args(command);
            let told = String::from_utf8(benchmark.output().unwrap().stdout).unwrap();
            let rate = told.lines().last().and_then(|line| line.rsplit("\",\"").nth(6).map(str::to_owned));
            rate.and_then(|rate| rate.parse::<f64>().ok())
                .unwrap_or_else(|| panic!("redis-benchmark told {told}"))
        };
        let guess = run(2_000);
        run((guess * CELL.as_secs_f64()) as u64)
    }

    /// A script that does one HSET.
    fn hset(&self, clients: usize) -> f64 {
        let script = "return redis.call('HSET', KEYS[1], 'state', ARGV[1])";
        let sha = self.server.cli(&["SCRIPT", "LOAD", script]);
        self.floor(clients, &["EVALSHA", sha.trim(), "1", "bare:__rand_int__", "executing"])
    }

    /// The fields of a completed record, read as one hash.
    fn hgetall(&self, clients: usize) -> f64 {
        let payload = "a".repeat(100);
        let fields = ["state", "completed", "token", "1794613432436492", "worker", "web1:8742", "rev", "2"];
        let more =
            ["claim", "00000000000000000000000000000001", "lease", "1794613432436492", "payload", &payload];
        self.server.cli(&[&["HSET", "bare-record"][..], &fields, &more].concat());
        self.floor(clients, &["HGETALL", "bare-record"])
    }

    /// How many calls of scripts the server has carried out.
    fn calls(&self) -> f64 {
        let stats = self.server.info("cmdstat_evalsha");
        let calls = stats.strip_prefix("calls=").and_then(|stats| stats.split(',').next());
        calls.and_then(|calls| calls.parse().ok()).unwrap_or_else(|| panic!("evalsha: {stats}"))
    }

    /// Microseconds of processor time that the server has used.
    fn server_cpu(&self) -> f64 {
        let seconds = |field| self.server.info(field).parse::<f64>().unwrap();
        (seconds("used_cpu_user_main_thread") + seconds("used_cpu_sys_main_thread")) * 1e6
    }
}

/// Microseconds of processor time that this process has used.
fn own_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks * 1e4
}

/// Operations of so many callers, each of which waits for its answer before it asks again: how many, and how many a second.
async fn closed_loop<F>(callers: usize, one: impl Fn(u64) -> F + Send + Sync + 'static) -> (f64, f64)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (next, one) = (Arc::new(AtomicU64::new(0)), Arc::new(one));
    let start = Instant::now();
    let work = (0..callers).map(|_| {
        let (next, one) = (next.clone(), one.clone());
        tokio::spawn(async move {
            let mut done = 0;
            while start.elapsed() < CELL {
                one(next.fetch_add(1, Ordering::Relaxed)).await;
                done += 1;
            }
            done
        })
    });
    let mut done = 0_u64;
    for task in work.collect::<Vec<_>>() {
        done += task.await.unwrap();
    }
    (done as f64, done as f64 / start.elapsed().as_secs_f64())
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn address(key: String) -> Address {
    Address::execution(Namespace::new("billing").unwrap(), Key::new(key).unwrap())
}

fn claim() -> Claim {
    Claim {
        claim_id: ClaimId::random(),
        terms: Terms::new(Duration::from_secs(30), Duration::from_secs(60)).unwrap(),
        retention: None,
        fingerprint: None,
        worker: Label::new("web1:8742").unwrap(),
        phase: Phase::Executing,
    }
}

/// Claim and completion, without the client.
async fn by_the_store(store: RedisStore, key: String) {
    let (address, claim) = (address(key), claim());
    let ClaimReply::Granted(granted) = store.claim(&address, &claim).await.unwrap().reply else { panic!() };
    let grant = Grant { token: granted.token, claim_id: claim.claim_id };
    let result = Recorded::success(Payload::new(Payload::JSON, format!("\"{}\"", "a".repeat(98))));
    store.complete(&address, &Complete { grant, result }).await.unwrap();
}

/// All of `once`: its task, its checks, its encoding, its keeper.
async fn by_the_client(sentinel: Sentinel, key: String) {
    let outcome = sentinel.once(key).run(|_| async { Ok::<_, std::io::Error>("a".repeat(98)) }).await;
    assert!(matches!(outcome.unwrap(), sentinel_core::client::Outcome::Completed(_)));
}

fn fresh(bed: &Bed, runtime: &Runtime) {
    println!(
        "{:>8} {:>10} {:>10} {:>7} {:>10} {:>7}",
        "callers", "EVALSHA/s", "once/s", "ratio", "store/s", "ratio"
    );
    for callers in CALLERS {
        let (mut floor, mut once, mut bare) = (vec![], vec![], vec![]);
        for round in 0..ROUNDS {
            floor.push(bed.hset(callers));
            let store = runtime.block_on(bed.store());
            let sentinel = Sentinel::new(store.clone()).namespace("billing").unwrap();
            let key = move |n: u64| format!("invoice-{callers}-{round}-{n:019}");
            let run = closed_loop(callers, move |n| by_the_client(sentinel.clone(), key(n)));
            once.push(runtime.block_on(run).1);
            let key = move |n: u64| format!("order-{callers}-{round}-{n:019}");
            let run = closed_loop(callers, move |n| by_the_store(store.clone(), key(n)));
            bare.push(runtime.block_on(run).1);
        }
        let [floor, once, bare] = [floor, once, bare].map(median);
        let (ratio, bare_ratio) = (once / floor, bare / floor);
        println!("{callers:>8} {floor:>10.0} {once:>10.0} {ratio:>7.2} {bare:>10.0} {bare_ratio:>7.2}");
    }
}

/// How many completed records there are to replay.
const KEYS: u64 = 10_000;

async fn completed(store: &RedisStore) -> Sentinel {
    let filled = (0..KEYS).map(|n| by_the_store(store.clone(), format!("replay-{n}-{}", std::process::id())));
    futures_util::future::join_all(filled).await;
    Sentinel::new(store.clone()).namespace("billing").unwrap()
}

async fn replayed(sentinel: Sentinel, n: u64) {
    let key = format!("replay-{}-{}", n.wrapping_mul(7919) % KEYS, std::process::id());
    let once = sentinel.once(key).run(|_| async { Ok::<_, std::io::Error>(String::new()) });
    assert!(matches!(once.await.unwrap(), sentinel_core::client::Outcome::Replayed(_)));
}

fn replay(bed: &Bed, runtime: &Runtime) {
    println!("{:>8} {:>10} {:>10} {:>7}", "callers", "HGETALL/s", "replay/s", "ratio");
    let sentinel = runtime.block_on(async { completed(&bed.store().await).await });
    for callers in CALLERS {
        let (mut floor, mut rate) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            floor.push(bed.hgetall(callers));
            let sentinel = sentinel.clone();
            rate.push(runtime.block_on(closed_loop(callers, move |n| replayed(sentinel.clone(), n))).1);
        }
        let [floor, rate] = [floor, rate].map(median);
        println!("{callers:>8} {floor:>10.0} {rate:>10.0} {:>7.2}", rate / floor);
    }
}

/// Live leases, renewed all at once as a keeper does, against one call for each.
fn heartbeat(bed: &Bed, runtime: &Runtime) {
    const LEASES: u64 = 10_000;
    runtime.block_on(async {
        let store = &bed.store().await;
        for kind in [Kind::Execution, Kind::Lease] {
            let claims = (0..LEASES).map(|n| async move {
                let key = format!("live-{kind:?}-{n}-{}", ClaimId::random());
                let (address, mut claim) = (Address { kind, ..address(key) }, claim());
                if kind == Kind::Lease {
                    claim.phase = Phase::Claimed;
                }
                let ClaimReply::Granted(granted) = store.claim(&address, &claim).await.unwrap().reply else {
                    panic!()
                };
                Beat { address, grant: Grant { token: granted.token, claim_id: claim.claim_id } }
            });
            let beats = futures_util::future::join_all(claims).await;
            let (mut together, mut alone) = (vec![], vec![]);
            for _ in 0..ROUNDS * 3 {
                let start = Instant::now();
                store.heartbeat(&beats).await.unwrap();
                together.push(start.elapsed().as_secs_f64());
                let start = Instant::now();
                for beat in &beats[..500] {
                    store.heartbeat(std::slice::from_ref(beat)).await.unwrap();
                }
                alone.push(start.elapsed().as_secs_f64() * (LEASES as f64 / 500.0));
            }
            let [together, alone] = [together, alone].map(|of| median(of) * 1e3);
            let ratio = alone / together;
            println!(
                "{LEASES} {kind:?}s: {together:.0} ms in one call, {alone:.0} ms one by one, ratio {ratio:.1}"
            );
        }
    });
}

/// Bytes of the server's memory for each completed execution with its two events, and for what it consists of.
fn memory(bed: &Bed, runtime: &Runtime) {
    const RECORDS: u64 = 100_000;
    let used = || bed.server.info("used_memory").parse::<f64>().unwrap();
    let before = used();
    runtime.block_on(async {
        let store = bed.store().await;
        for page in 0..RECORDS / 1000 {
            let filled =
                (0..1000).map(|n| by_the_store(store.clone(), format!("invoice-{:019}", page * 1000 + n)));
            futures_util::future::join_all(filled).await;
        }
    });
    println!(
        "{:.0} bytes for each of {RECORDS} records with 100 bytes of result",
        (used() - before) / RECORDS as f64
    );
    let keys = bed.server.cli(&["--scan", "--pattern", "*invoice-0000000000000000042"]);
    for key in keys.lines() {
        println!("{key}: {} bytes", bed.server.cli(&["MEMORY", "USAGE", key]).trim());
    }
}

/// Microseconds of processor time for each operation, of the server and of this process, and how many calls of scripts.
fn cpu(bed: &Bed, runtime: &Runtime) {
    println!("{:>8} {:>10} {:>10} {:>10} {:>10}", "callers", "what", "server", "client", "calls");
    let sentinel = runtime.block_on(async { completed(&bed.store().await).await });
    for callers in CALLERS {
        let (server, start) = (bed.server_cpu(), Instant::now());
        let rate = bed.hset(callers);
        let commands = rate * start.elapsed().as_secs_f64();
        println!(
            "{callers:>8} {:>10} {:>10.1} {:>10} {:>10.2}",
            "EVALSHA",
            (bed.server_cpu() - server) / commands,
            "-",
            1.0
        );
        let told = |what: &str, (server, own, calls): (f64, f64, f64), done: f64| {
            let (server, own) = ((bed.server_cpu() - server) / done, (own_cpu() - own) / done);
            let calls = (bed.calls() - calls) / done;
            println!("{callers:>8} {what:>10} {server:>10.1} {own:>10.1} {calls:>10.2}");
        };
        let used = || (bed.server_cpu(), own_cpu(), bed.calls());
        let (before, store) = (used(), runtime.block_on(bed.store()));
        let key = move |n: u64| format!("cpu-{callers}-{n:019}");
        let (done, _) = runtime.block_on(closed_loop(callers, move |n| by_the_store(store.clone(), key(n))));
        told("store", before, done);
        let (before, sentinel) = (used(), sentinel.clone());
        let (done, _) = runtime.block_on(closed_loop(callers, move |n| replayed(sentinel.clone(), n)));
        told("replay", before, done);
    }
}
