//! A server of its own, on which nothing happens but what is measured, and its counters.
//!
//! None of them is a time, or depends on one: what is busy beside it changes no figure.

use std::sync::OnceLock;

use sentinel_core::operation::{Claim, ClaimReply};
use sentinel_core::{Address, ClaimId, CoordinationStore as _, Grant, Key, Kind, Namespace};
use sentinel_redis::RedisStore;
use sentinel_testbed::{CostBudget as Price, Redis, redis};
use tokio::sync::{Mutex, MutexGuard};

use crate::cost::budgets::UNITS;

/// A store on the metered server, which no other test uses meanwhile.
pub(crate) struct Meter {
    pub(crate) subject: Subject,
    wrong: Vec<String>,
    _alone: MutexGuard<'static, ()>,
}

/// Where operations are asked for.
pub(crate) struct Subject {
    pub(crate) store: RedisStore,
    namespace: Namespace,
}

impl Subject {
    /// As long as a user's keys are, and as evenly spread.
    pub(crate) fn fresh(&self, kind: Kind) -> Address {
        let key = Key::new(format!("invoice-{}", ClaimId::random())).unwrap();
        Address { namespace: self.namespace.clone(), kind, key }
    }

    /// Makes a claim that must be granted.
    pub(crate) async fn granted(&self, address: &Address, claim: &Claim) -> Grant {
        let stamped = self.store.claim(address, claim).await.unwrap();
        let ClaimReply::Granted(granted) = stamped.reply else { panic!("not granted: {stamped:?}") };
        Grant { token: granted.token, claim_id: claim.claim_id }
    }
}

/// The append-only file is never rewritten.
fn server() -> &'static Redis {
    static SERVER: OnceLock<Redis> = OnceLock::new();
    SERVER.get_or_init(|| Redis::start(redis::Options::default().setting("auto-aof-rewrite-percentage", "0")))
}

impl Meter {
    pub(crate) async fn open() -> Self {
        static ALONE: Mutex<()> = Mutex::const_new(());
        let alone = ALONE.lock().await;
        // One bucket: how a batch spreads over several is random.
        let builder =
            RedisStore::builder(&server().url()).key_prefix(ClaimId::random().to_string()).buckets(1);
        let subject =
            Subject { store: builder.init().await.unwrap(), namespace: Namespace::new("billing").unwrap() };
        Self { subject, wrong: Vec::new(), _alone: alone }
    }

    /// Prepares so many runs of an operation, measures only the runs, and records it if they are not within the
    /// budget.
    pub(crate) async fn measure<T>(
        &mut self,
        budget: &Price<3>,
        many: usize,
        fixture: impl AsyncFn(&Subject) -> T,
        operation: impl AsyncFn(&Subject, T),
    ) {
        // The first round pays for connections, and for scripts that the server does not know yet.
        self.round(many, &fixture, &operation).await;
        let mut trial = budget.trial(&UNITS);
        while trial.goes_on() {
            trial.note(self.round(many, &fixture, &operation).await);
        }
        self.wrong.extend(trial.verdict().err());
    }

    async fn round<T>(
        &self,
        many: usize,
        fixture: impl AsyncFn(&Subject) -> T,
        operation: impl AsyncFn(&Subject, T),
    ) -> [f64; 3] {
        let mut fixtures = Vec::new();
        for _ in 0..many {
            fixtures.push(fixture(&self.subject).await);
        }
        let before = read();
        for fixture in fixtures {
            operation(&self.subject, fixture).await;
        }
        let after = read();
        std::array::from_fn(|n| (after[n] - before[n]) as f64 / many as f64)
    }

    /// Panics if a price was not true.
    #[track_caller]
    pub(crate) fn assert_within_budget(&self) {
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
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
