//! Many processes on one file, and processes that die. The children are this very test binary, started again.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sentinel_core::kernel::{Rebuilt, rebuild};
use sentinel_core::operation::*;
use sentinel_core::{CoordinationStore, State};
use sentinel_sqlite::SqliteStore;

use crate::harness::*;

const ROLE: &str = "SENTINEL_SQLITE_TEST_ROLE";
const FILE: &str = "SENTINEL_SQLITE_TEST_FILE";
const PROCESSES: usize = 24;

pub(crate) fn spawn(role: &str, file: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::entry_of_the_children", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(FILE, file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a child says begins so, apart from what the test runner prints.
fn said(line: &str) -> Option<&str> {
    line.split_once("child says ").map(|(_, said)| said)
}

fn say(what: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nchild says {what}").unwrap();
    out.flush().unwrap();
}

/// Without a role this is an empty test: the children's `main`.
#[tokio::test]
async fn entry_of_the_children() {
    let (Ok(role), Ok(file)) = (std::env::var(ROLE), std::env::var(FILE)) else { return };
    match role.as_str() {
        "race" => race(Path::new(&file)).await,
        "stream" => stream(Path::new(&file)).await,
        way if way.starts_with("end ") => end(way, Path::new(&file)),
        other => panic!("no role {other}"),
    }
}

/// Runs one key, and ends without dropping the store.
fn end(way: &str, file: &Path) {
    let run = |runtime: &tokio::runtime::Runtime| {
        let store = runtime.block_on(async {
            let store = SqliteStore::open(file).await.unwrap();
            once(&store, &execution("a"), &fused(), b"done").await;
            store.inspect(&execution("a")).await.unwrap();
            store
        });
        std::mem::forget(store);
    };
    // This function runs within the test's runtime, where another one cannot wait.
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
            run(&runtime);
            match way {
                "end by exit" => std::process::exit(0),
                "end without a runtime" => runtime.shutdown_background(),
                _ => std::mem::forget(runtime),
            }
        });
        ended.join().unwrap();
    });
}

/// Opens the file when told to, and claims one key.
async fn race(file: &Path) {
    say(format_args!("ready"));
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let builder = SqliteStore::builder(file).busy_timeout(std::time::Duration::from_secs(120));
    let store = builder.open().await.unwrap();
    let reply = store.claim(&execution("one key"), &fused()).await.unwrap().reply;
    say(format_args!("{}", if matches!(reply, ClaimReply::Granted(_)) { "granted" } else { "refused" }));
}

#[test]
fn of_many_processes_that_create_the_file_at_once_one_is_granted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sentinel.db");
    let mut children: Vec<_> = (0..PROCESSES).map(|_| spawn("race", &file)).collect();
    let mut lines: Vec<_> =
        children.iter_mut().map(|child| BufReader::new(child.stdout.take().unwrap()).lines()).collect();
    let mut next = |child: usize| {
        let lines = lines[child].by_ref().map(Result::unwrap);
        lines.into_iter().find_map(|line| said(&line).map(str::to_owned))
    };
    (0..PROCESSES).for_each(|child| assert_eq!(next(child).as_deref(), Some("ready")));
    for child in &mut children {
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }
    let answers: Vec<_> = (0..PROCESSES).map(|child| next(child).expect("an answer")).collect();
    assert_eq!(answers.iter().filter(|answer| *answer == "granted").count(), 1, "{answers:?}");
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
}

/// Runs key after key from several tasks, and says what was acknowledged.
async fn stream(file: &Path) {
    let store = SqliteStore::open(file).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..4 {
        let store = store.clone();
        tasks.spawn(async move {
            for n in 0.. {
                let key = format!("{task}-{n}");
                let grant = granted(&store, &execution(&key), &fused()).await;
                say(format_args!("begun {key} {}", grant.token));
                let complete = Complete { grant, result: success(key.as_bytes()) };
                store.complete(&execution(&key), &complete).await.unwrap();
                say(format_args!("completed {key} {}", grant.token));
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..4 {
        // A file for each round: a store that is dropped may still be closing its own.
        let file = dir.path().join(format!("{round}.db"));
        let mut child = spawn("stream", &file);
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut acknowledged = Vec::new();
        for line in out.lines().map_while(Result::ok) {
            acknowledged.extend(said(&line).map(str::to_owned));
            if acknowledged.len() == 150 + 37 * round {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        check(&file, &acknowledged).await;
    }
}

/// Each acknowledged transition is there, each record agrees with its events, and the file is sound.
async fn check(file: &Path, acknowledged: &[String]) {
    let store = SqliteStore::open(file).await.unwrap();
    assert!(acknowledged.len() >= 150);
    for line in acknowledged {
        let [what, key, token] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let record = store.inspect(&execution(key)).await.unwrap().record.expect("what was acknowledged");
        assert_eq!(record.token.to_string(), token);
        if what == "completed" {
            assert_eq!(
                (record.state, record.result.clone()),
                (State::Completed, Some(success(key.as_bytes())))
            );
        }
        assert!(matches!(record.state, State::Executing | State::Completed));
        let history = store.history(&execution(key), 10).await.unwrap();
        assert_eq!(rebuild(&history), Rebuilt::from(&record));
    }
    let health = store.health().await.unwrap();
    assert!(health.accepted, "{health:?}");
}
