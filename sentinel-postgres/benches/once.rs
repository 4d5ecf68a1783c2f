//! What coordination costs on PostgreSQL, against what the server's own benchmark program gets for the least that could be
//! done. Figures of one table come from one interleaved run: `cargo bench -p sentinel-postgres -- [TABLE..]`, where TABLE is
//! `fresh`, `replay`, `lease`, `heartbeat`, `large`, `cpu` or `wal`; all but `large` without one.

#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark")]

use std::io::Write as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sentinel_core::operation::*;
use sentinel_core::{
    Address, ClaimId, CoordinationStore, Grant, Key, Label, Namespace, Payload, Recorded, Sentinel, Terms,
};
use sentinel_postgres::PostgresStore;
use sentinel_testbed::Postgres;
use sentinel_testbed::postgres::Options;

/// Rounds of one table; each cell is the median.
const ROUNDS: usize = 3;
/// How long one cell is measured in one round.
const CELL: Duration = Duration::from_secs(3);
const CALLERS: [usize; 5] = [1, 8, 32, 128, 512];

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |table: &str| asked.iter().any(|name| name == table) || asked.is_empty() && table != "large";
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let bed = Bed::new();
    type Table = fn(&Bed, &tokio::runtime::Runtime);
    let tables: [(&str, Table); 7] = [
        ("wal", wal),
        ("cpu", cpu),
        ("fresh", fresh),
        ("replay", replay),
        ("lease", lease),
        ("heartbeat", heartbeat),
        ("large", large),
    ];
    for (name, table) in tables {
        if wanted(name) {
            println!("\n== {name}");
            table(&bed, &runtime);
        }
    }
}

/// A server with its default durability, and the tables of the floors.
struct Bed {
    server: Postgres,
}

impl Bed {
    fn new() -> Self {
        // As PostgreSQL comes, but for the room that 512 connections of pgbench need.
        let options = Options::default().conf("max_connections = 600").conf("max_wal_size = '8GB'");
        let server = Postgres::start(options);
        server.psql(
            "CREATE TABLE bare (key text PRIMARY KEY, payload bytea); \
             CREATE TABLE reads (key text PRIMARY KEY, payload bytea); \
             INSERT INTO reads SELECT 'invoice-' || n, decode(repeat('61', 100), 'hex') FROM generate_series(1, 10000) n; \
             VACUUM ANALYZE reads",
        );
        Self { server }
    }

    async fn store(&self) -> PostgresStore {
        PostgresStore::builder(&self.server.socket_url()).init().await.unwrap()
    }

    /// Transactions a second, by so many connections that each send one prepared statement at a time.
    fn pgbench(&self, script: &str, clients: usize) -> f64 {
        let seconds = CELL.as_secs().to_string();
        let (clients, mode) = (clients.to_string(), ["-M", "prepared"]);
        let mut pgbench = self.server.command("pgbench");
        pgbench.args(["-n", "-c", &clients, "-j", "2", "-T", &seconds, "-f", "-"]).args(mode);
        let mut child =
            pgbench.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let told = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        let tps = told.lines().find_map(|line| line.strip_prefix("tps = ")).expect("pgbench tells its rate");
        tps.split_whitespace().next().unwrap().parse().unwrap()
    }
}

const INSERT: &str = "\\set k random(1, 9000000000000000000)\n\
    INSERT INTO bare (key, payload) VALUES ('invoice-' || :k, decode(repeat('61', 100), 'hex'));\n";
const SELECT: &str = "\\set k random(1, 10000)\nSELECT payload FROM reads WHERE key = 'invoice-' || :k;\n";

/// Operations a second of so many callers, each of which waits for its answer before it asks again.
async fn closed_loop<F>(callers: usize, one: impl Fn(u64) -> F + Send + Sync + 'static) -> f64
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
    done as f64 / start.elapsed().as_secs_f64()
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
async fn by_the_store(store: PostgresStore, key: String) {
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

fn fresh(bed: &Bed, runtime: &tokio::runtime::Runtime) {
    println!(
        "{:>8} {:>10} {:>10} {:>7} {:>10} {:>7}",
        "callers", "INSERT/s", "once/s", "ratio", "store/s", "ratio"
    );
    let salt = std::process::id();
    for callers in CALLERS {
        let (mut floor, mut once, mut bare) = (vec![], vec![], vec![]);
        for round in 0..ROUNDS {
            floor.push(bed.pgbench(INSERT, callers));
            let run = async |client: bool| {
                let store = bed.store().await;
                let sentinel = Sentinel::new(store.clone()).namespace("billing").unwrap();
                if client {
                    let key = move |n: u64| format!("invoice-{salt}-{callers}-{round}-{n:019}");
                    closed_loop(callers, move |n| by_the_client(sentinel.clone(), key(n))).await
                } else {
                    let key = move |n: u64| format!("order-{salt}-{callers}-{round}-{n:019}");
                    closed_loop(callers, move |n| by_the_store(store.clone(), key(n))).await
                }
            };
            once.push(runtime.block_on(run(true)));
            bare.push(runtime.block_on(run(false)));
        }
        let [floor, once, bare] = [floor, once, bare].map(median);
        println!(
            "{callers:>8} {floor:>10.0} {once:>10.0} {:>7.2} {bare:>10.0} {:>7.2}",
            once / floor,
            bare / floor
        );
    }
}

fn replay(bed: &Bed, runtime: &tokio::runtime::Runtime) {
    const KEYS: u64 = 10_000;
    println!("{:>8} {:>10} {:>10} {:>7}", "callers", "SELECT/s", "replay/s", "ratio");
    let store = runtime.block_on(bed.store());
    runtime.block_on(async {
        let filled = (0..KEYS).map(|n| by_the_store(store.clone(), format!("replay-{n}")));
        futures_util::future::join_all(filled).await;
    });
    let sentinel = Sentinel::new(store).namespace("billing").unwrap();
    for callers in CALLERS {
        let (mut floor, mut rate) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            floor.push(bed.pgbench(SELECT, callers));
            let sentinel = sentinel.clone();
            rate.push(runtime.block_on(closed_loop(callers, move |n| {
                let sentinel = sentinel.clone();
                async move {
                    let key = format!("replay-{}", n.wrapping_mul(7919) % KEYS);
                    let once = sentinel.once(key).run(|_| async { Ok::<_, std::io::Error>(String::new()) });
                    assert!(matches!(once.await.unwrap(), sentinel_core::client::Outcome::Replayed(_)));
                }
            })));
        }
        let [floor, rate] = [floor, rate].map(median);
        println!("{callers:>8} {floor:>10.0} {rate:>10.0} {:>7.2}", rate / floor);
    }
}

fn lease(bed: &Bed, runtime: &tokio::runtime::Runtime) {
    println!("{:>8} {:>10} {:>10} {:>7}", "callers", "INSERT/s", "lease/s", "ratio");
    for callers in CALLERS {
        let (mut floor, mut rate) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            floor.push(bed.pgbench(INSERT, callers));
            let store = runtime.block_on(bed.store());
            // Each caller takes and gives back a lease of its own, over and over.
            let free = Arc::new(Mutex::new((0..callers).collect::<Vec<_>>()));
            rate.push(runtime.block_on(closed_loop(callers, move |_| {
                let (store, free) = (store.clone(), free.clone());
                async move {
                    let mine = free.lock().unwrap().pop().unwrap();
                    cycle(&store, format!("lease-{mine}")).await;
                    free.lock().unwrap().push(mine);
                }
            })));
        }
        let [floor, rate] = [floor, rate].map(median);
        println!("{callers:>8} {floor:>10.0} {rate:>10.0} {:>7.2}", rate / floor);
    }
}

/// Acquires and releases, if nobody else has it.
async fn cycle(store: &PostgresStore, key: String) {
    let address = Address { kind: sentinel_core::Kind::Lease, ..address(key) };
    let claim = Claim { phase: Phase::Claimed, ..claim() };
    if let ClaimReply::Granted(granted) = store.claim(&address, &claim).await.unwrap().reply {
        let grant = Grant { token: granted.token, claim_id: claim.claim_id };
        store.release(&address, &Release { grant, vouched: false }).await.unwrap();
    }
}

/// Live leases, renewed all at once as a keeper does, against one statement for each.
fn heartbeat(bed: &Bed, runtime: &tokio::runtime::Runtime) {
    const LEASES: u64 = 10_000;
    runtime.block_on(async {
        let store = bed.store().await;
        for kind in [sentinel_core::Kind::Execution, sentinel_core::Kind::Lease] {
            let store = &store;
            let claims = (0..LEASES).map(|n| async move {
                let key = format!("live-{kind:?}-{n}-{}", ClaimId::random());
                let (address, mut claim) = (Address { kind, ..address(key) }, claim());
                if kind == sentinel_core::Kind::Lease {
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
            let [together, alone] = [together, alone].map(median);
            println!(
                "{LEASES} {kind:?}s: {:.0} ms in one call, {:.0} ms one by one, ratio {:.1}",
                together * 1e3,
                alone * 1e3,
                alone / together
            );
        }
        let hot = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'records'";
        println!("updates|heap-only of all tables named records: {}", bed.server.psql(hot));
    });
}

/// A fresh execution among many completed ones.
fn large(bed: &Bed, runtime: &tokio::runtime::Runtime) {
    const COLUMNS: &str = "last_event, token, rev, last_now, lease_until, hard_until, incarnation, claimed_at, begun_at, \
        completed_at, ttl, hard_ttl, claim_id, kind, state, verdict, after_reset, omitted, namespace, key, worker, \
        content_type, payload";
    let measure = |schema: &str, rows: u64| {
        let store = runtime.block_on(async {
            PostgresStore::builder(&bed.server.socket_url()).schema(schema).init().await.unwrap()
        });
        bed.server.psql(&format!(
            "INSERT INTO {schema}.records ({COLUMNS}) SELECT 2, 1700000000000000 + n, 2, 1700000000000000 + n, 0, 0, \
             1700000000000000 + n, 1700000000000000, 1700000000000000, 1700000000000000 + n, 30000000, 60000000, \
             gen_random_uuid(), 'execution', 'completed', 'success', false, false, 'billing', \
             'invoice-' || md5(n::text) || '-' || n, 'web1:8742', 'application/json', decode(repeat('61', 100), 'hex') \
             FROM generate_series(1, {rows}) n; VACUUM ANALYZE {schema}.records; CHECKPOINT"
        ));
        store
    };
    let small = measure("ten_thousand", 10_000);
    let large = measure("ten_million", 10_000_000);
    let sizes = "SELECT pg_size_pretty(pg_table_size('ten_million.records')) || ' table, ' || \
                 pg_size_pretty(pg_indexes_size('ten_million.records')) || ' indexes'";
    println!("10 million completed records: {}", bed.server.psql(sizes));
    for callers in [1, 32, 128] {
        let (mut few, mut many) = (vec![], vec![]);
        for round in 0..ROUNDS {
            for (store, rates) in [(&small, &mut few), (&large, &mut many)] {
                let store = store.clone();
                let key = move |n: u64| {
                    format!(
                        "invoice-{callers}-{round}-{}",
                        ClaimId::from_bits(
                            u128::from(n) << 64 ^ 0x9e37_79b9_7f4a_7c15_u128.wrapping_mul(n.into())
                        )
                    )
                };
                rates.push(
                    runtime.block_on(closed_loop(callers, move |n| by_the_store(store.clone(), key(n)))),
                );
            }
        }
        let [few, many] = [few, many].map(median);
        println!(
            "{callers:>4} callers: {few:.0}/s at 10 thousand, {many:.0}/s at 10 million: {:.2} times the time",
            few / many
        );
    }
}

/// Statements and bytes of the log for each execution, without and with company.
fn wal(bed: &Bed, runtime: &tokio::runtime::Runtime) {
    let lsn = || bed.server.psql("SELECT pg_current_wal_insert_lsn() - '0/0'").parse::<f64>().unwrap();
    for (callers, each) in [(1, 2000_usize), (128, 200)] {
        let store = runtime.block_on(bed.store());
        let commits = "SELECT xact_commit FROM pg_stat_database WHERE datname = 'postgres'";
        // The first few pay for the connection and for new pages.
        runtime.block_on(by_the_store(store.clone(), format!("warm-{callers}")));
        bed.server.psql("CHECKPOINT");
        let before = lsn();
        let committed = || {
            bed.server
                .psql(&format!("SELECT pg_stat_clear_snapshot(); {commits}"))
                .lines()
                .last()
                .unwrap()
                .parse::<f64>()
                .unwrap()
        };
        let first = committed();
        runtime.block_on(async {
            let work = (0..callers).map(|caller| {
                let store = store.clone();
                tokio::spawn(async move {
                    for n in 0..each {
                        by_the_store(
                            store.clone(),
                            format!("wal-{callers}-{caller}-{n}-{}", ClaimId::random()),
                        )
                        .await;
                    }
                })
            });
            for task in work.collect::<Vec<_>>() {
                task.await.unwrap();
            }
        });
        let bytes = lsn() - before;
        drop(store);
        // The server's counters are behind by up to a second.
        std::thread::sleep(Duration::from_secs(2));
        let count = (callers * each) as f64;
        println!(
            "{callers:>4} callers: {:.0} bytes of log, {:.2} transactions for each execution",
            bytes / count,
            (committed() - first) / count
        );
    }
}

/// Microseconds of processor time for each execution: what is left of a figure on a machine that has other things to do.
fn cpu(bed: &Bed, runtime: &tokio::runtime::Runtime) {
    // User and system time, of this process and of the server's ended children, in hundredths of a second.
    let used = |pid: u32, fields: [usize; 2]| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let after =
            stat.rsplit_once(')').unwrap().1.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        fields.iter().map(|field| after[field - 3].parse::<f64>().unwrap()).sum::<f64>() * 1e4
    };
    let (ours, theirs) = (|| used(std::process::id(), [14, 15]), || used(bed.server.pid(), [16, 17]));
    println!(
        "{:>8} {:>8} {:>22} {:>22} {:>22}",
        "", "callers", "per second", "us of the server", "us of the client"
    );
    for callers in [1, 32, 128] {
        let before = theirs();
        let rate = bed.pgbench(INSERT, callers);
        sentinel_testbed::until("pgbench's connections are gone", || {
            bed.server.psql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'") == "0"
        });
        let per = (theirs() - before) / (rate * CELL.as_secs_f64());
        println!("{:>8} {callers:>8} {rate:>22.0} {per:>22.1}", "INSERT");
        let (client, server) = (ours(), theirs());
        let rate = runtime.block_on(async {
            let sentinel = Sentinel::new(bed.store().await).namespace("billing").unwrap();
            let salt = ClaimId::random();
            closed_loop(callers, move |n| by_the_client(sentinel.clone(), format!("cpu-{salt}-{n}"))).await
        });
        // A connection's time is told once its process has ended.
        sentinel_testbed::until("the store's connections are gone", || {
            bed.server.psql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sentinel'")
                == "0"
        });
        let many = rate * CELL.as_secs_f64();
        let (client, server) = ((ours() - client) / many, (theirs() - server) / many);
        println!("{:>8} {callers:>8} {rate:>22.0} {server:>22.1} {client:>22.1}", "once");
    }
}
