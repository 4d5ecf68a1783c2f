//! A server of its own, on which nothing happens but what is measured, and its counters.
//!
//! None of them is a time, or depends on one: what is busy beside it changes no figure.

use std::sync::OnceLock;

use sentinel_core::{Address, ClaimId, CoordinationStore, Key, Kind, Namespace};
use sentinel_redis::RedisStore;
use sentinel_store_tests::cost;
use sentinel_testbed::{CostBudget, Redis, Unit, redis};
use tokio::sync::{Mutex, MutexGuard};

use crate::cost::budgets::UNITS;

/// A store on the metered server, which no other test uses meanwhile.
pub(crate) struct Meter {
    subject: Subject,
    _alone: MutexGuard<'static, ()>,
}

/// Where operations are sent.
pub(crate) struct Subject {
    store: RedisStore,
    namespace: Namespace,
}

impl cost::Subject for Subject {
    fn store(&self) -> &dyn CoordinationStore {
        &self.store
    }

    fn fresh(&self, kind: Kind) -> Address {
        let key = Key::new(format!("invoice-{}", ClaimId::random())).unwrap();
        Address { namespace: self.namespace.clone(), kind, key }
    }
}

/// The append-only file is never rewritten.
fn server() -> &'static Redis {
    static SERVER: OnceLock<Redis> = OnceLock::new();
    SERVER.get_or_init(|| Redis::start(redis::Options::default().setting("auto-aof-rewrite-percentage", "0")))
}

impl cost::Meter<3> for Meter {
    type Subject = Subject;

    async fn open(_: &str) -> Self {
        static ALONE: Mutex<()> = Mutex::const_new(());
        let alone = ALONE.lock().await;
        // One bucket: how a batch spreads over several is random.
        let builder =
            RedisStore::builder(&server().url()).key_prefix(ClaimId::random().to_string()).buckets(1);
        let subject =
            Subject { store: builder.init().await.unwrap(), namespace: Namespace::new("billing").unwrap() };
        Self { subject, _alone: alone }
    }

    fn units(_: &CostBudget<3>) -> &'static [Unit; 3] {
        &UNITS
    }

    async fn next_round(&mut self) -> bool {
        false
    }

    fn subject(&self) -> &Subject {
        &self.subject
    }

    async fn count(&mut self, operations: impl AsyncFnOnce(&Subject)) -> [f64; 3] {
        let before = read();
        operations(&self.subject).await;
        let after = read();
        std::array::from_fn(|n| (after[n] - before[n]) as f64)
    }
}

/// Running counters: calls of scripts, commands with those that scripts give, bytes of the append-only file.
fn read() -> [u64; 3] {
    let reply = server().cli(&["INFO", "commandstats"]);
    let (mut scripts, mut commands) = (0, 0);
    for line in reply.lines() {
        let Some((name, calls)) = line.strip_prefix("cmdstat_").and_then(|line| line.split_once(":calls="))
        else {
            continue;
        };
        let calls: u64 = calls.split(',').next().unwrap().parse().unwrap();
        match name {
            // This very question.
            "info" => {}
            "evalsha" | "evalsha_ro" | "fcall" | "fcall_ro" => scripts += calls,
            _ => commands += calls,
        }
    }
    [scripts, scripts + commands, server().append_only_len()]
}
