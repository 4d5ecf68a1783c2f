//! A server that is killed, and what is left of its append-only file.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sentinel_client::Outcome;
use sentinel_client::Sentinel;
use sentinel_core::operation::*;
use sentinel_core::{Address, CoordinationStore as _, ErrorKind, Token};
use sentinel_redis::RedisStore;
use sentinel_store_tests::crash;
use sentinel_store_tests::load::{Acknowledged, Load, is_kept};
use sentinel_store_tests::rng::Rng;
use sentinel_testbed::redis::Options;
use sentinel_testbed::{Redis, until};

use crate::faults::*;

/// Calls of `once`, for the same few keys over and over; how often each key has run.
struct Calls {
    runs: Arc<Vec<AtomicUsize>>,
    stop: Arc<AtomicBool>,
    callers: Vec<tokio::task::JoinHandle<()>>,
}

impl Calls {
    fn start(store: &RedisStore) -> Self {
        let runs: Arc<Vec<_>> = Arc::new((0..2_000).map(|_| AtomicUsize::new(0)).collect());
        let stop = Arc::<AtomicBool>::default();
        let sentinel = Sentinel::new(store.clone()).namespace("calls").unwrap();
        let callers = (0..8).map(|caller| {
            let (sentinel, runs, stop) = (sentinel.clone(), runs.clone(), stop.clone());
            tokio::spawn(async move {
                for round in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    // Each key is asked for by two callers, and by each of them twice.
                    let key = (round / 2 + caller / 2 * 500) % runs.len();
                    run(&sentinel, key, &runs).await;
                }
            })
        });
        Self { callers: callers.collect(), runs, stop }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        for caller in self.callers {
            caller.await.unwrap();
        }
        let ran = self.runs.iter().map(|runs| runs.load(Ordering::SeqCst));
        assert!(ran.clone().all(|runs| runs <= 1), "a key has run twice");
        assert!(ran.sum::<usize>() > 0);
    }
}

async fn run(sentinel: &Sentinel, key: usize, runs: &Arc<Vec<AtomicUsize>>) {
    let counted = runs.clone();
    let outcome = sentinel
        .once::<String>(key.to_string())
        .run(move |_| async move {
            counted[key].fetch_add(1, Ordering::SeqCst);
            Ok(key)
        })
        .await
        .unwrap();
    match outcome {
        Outcome::Completed(reply) | Outcome::Replayed(reply) => assert_eq!(reply, key),
        Outcome::NotRun(_) | Outcome::InProgress(_) | Outcome::Uncertain(_) | Outcome::Unconfirmed(_) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_loses_nothing_that_was_acknowledged() {
    let server = Redis::start(Options::default());
    let store = RedisStore::init(&server.url()).await.unwrap();
    let (load, calls) = (Load::start(std::slice::from_ref(&store), "load"), Calls::start(&store));
    for round in 0..8_usize {
        let moment = load.count() + 1 + (round * 97) % 211;
        until("enough was acknowledged", || load.count() >= moment);
        server.kill();
        server.start_again();
    }
    // The same store continues without any intervention.
    let before = load.count();
    until("it goes on", || load.count() > before);
    calls.end().await;
    let log = load.end().await;
    let new_client = RedisStore::connect(&server.url()).await.unwrap();
    for entry in &log {
        is_kept(&store, entry).await;
        is_kept(&new_client, entry).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_server_was_killed_meanwhile_records_its_result() {
    let server = Arc::new(Redis::start(Options::default()));
    let store = RedisStore::init(&server.url()).await.unwrap();
    let victim = server.clone();
    crash::a_worker_whose_server_was_killed_meanwhile_records_its_result(store, move || {
        victim.kill();
        victim.start_again();
    })
    .await;
}

/// The tokens that were granted before the file was cut.
#[derive(Default)]
struct Tokens {
    newest: HashMap<Address, Token>,
    all: HashSet<(Address, Token)>,
}

impl Tokens {
    /// I2 and I3: larger than all tokens before it, and granted to one caller only.
    fn drawn(&mut self, address: &Address, token: Token) {
        let before = self.newest.insert(address.clone(), token);
        assert!(before.is_none_or(|before| before < token), "{address}: {token} after {before:?}");
        assert!(self.all.insert((address.clone(), token)), "{address}: {token} was drawn twice");
    }

    /// What was granted, by the store that granted it.
    fn reply(&mut self, log: &[Acknowledged]) {
        for entry in log {
            for token in [entry.begun.token, entry.token()] {
                self.all.insert((entry.address.clone(), token));
            }
            self.newest.insert(entry.address.clone(), entry.token());
        }
    }
}

/// Gets a token for the address, whatever its state is.
async fn draw(store: &RedisStore, address: &Address) -> Option<Token> {
    let claim = fused();
    let stamped = store.claim(address, &claim).await.unwrap();
    match stamped.reply {
        ClaimReply::Granted(granted) => Some(granted.token),
        ClaimReply::Completed { .. } => None,
        ClaimReply::InProgress { .. } | ClaimReply::Uncertain { .. } => {
            let take = Reconcile { even_if_alive: true, ..reconcile(stamped.stamp.token) };
            Some(store.reconcile(address, &take).await.unwrap().stamp.token)
        }
        ClaimReply::Reconciling { .. } => {
            let seen = store.inspect(address).await.unwrap().record.unwrap().token;
            let take = Reconcile { steal: true, ..reconcile(seen) };
            Some(store.reconcile(address, &take).await.unwrap().stamp.token)
        }
        other => panic!("{other:?}"),
    }
}

/// The refusal that a store with an open connection gets after the cut, once it has reconnected.
async fn refusal_after_truncation(store: &RedisStore, log: &[Acknowledged]) -> Option<ErrorKind> {
    let report = async {
        loop {
            match store.inspect(&log[0].address).await {
                Ok(_) => return None,
                Err(error) if error.is_worth_repeating() => {}
                Err(error) => return Some(error.kind()),
            }
        }
    };
    tokio::time::timeout(AT_LAST, report).await.expect("it is answered again")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_file_is_reported_and_no_token_is_granted_twice() {
    let seed = u64::from_le_bytes(std::array::from_fn(|n| std::process::id().to_le_bytes()[n % 4]));
    // The file is cut at another place each time, and at the same for a seed that was printed.
    eprintln!("seed {seed}");
    let mut random = Rng(seed);
    let server = Redis::start(Options::default());
    let store = RedisStore::builder(&server.url()).deadline(SOON).init().await.unwrap();
    let (mut tokens, mut replies) = (Tokens::default(), HashSet::new());
    for round in 0..16 {
        let before = server.append_only_len();
        let load = Load::start(std::slice::from_ref(&store), &format!("{round}"));
        until("enough was acknowledged", || load.count() >= 40);
        load.stop();
        server.kill();
        let log = load.end().await;
        tokens.reply(&log);
        let after = server.append_only_len();
        // Now and then nothing, or everything.
        let kept = match round % 8 {
            0 => after,
            5 => random.below(after + 1),
            7 => random.below(200),
            _ => before + random.below(after - before + 1),
        };
        server.cut_append_only_file_to(kept);
        server.start_again();
        let reply = refusal_after_truncation(&store, &log).await;
        replies.insert(reply.map(|error_kind| error_kind.to_string()));
        match reply {
            None => {
                for entry in &log {
                    is_kept(&store, entry).await;
                }
            }
            Some(ErrorKind::PossibleDataLoss) => {
                new_client_is_refused_with(&server.url(), ErrorKind::PossibleDataLoss).await
            }
            Some(ErrorKind::DataLoss) => {
                new_client_is_refused_with(&server.url(), ErrorKind::NotInitialised).await
            }
            Some(other) => panic!("{other}"),
        }
        if reply.is_some() {
            let registered = RedisStore::init(&server.url()).await.unwrap();
            registered.inspect(&log[0].address).await.unwrap();
        }
        for entry in &log {
            if let Some(token) = draw(&store, &entry.address).await {
                tokens.drawn(&entry.address, token);
            }
        }
    }
    assert_eq!(replies.len(), 3, "{replies:?}");
}
