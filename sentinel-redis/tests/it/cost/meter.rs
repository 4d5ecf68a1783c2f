//! A server of its own, on which nothing happens but what is measured, and its counters.
//!
//! None of them is a time, or depends on one: what is busy beside it changes no figure.

use std::sync::OnceLock;

use sentinel_core::operation::{Claim, ClaimReply};
use sentinel_core::{Address, ClaimId, CoordinationStore as _, Grant, Key, Kind, Namespace};
use sentinel_redis::RedisStore;
use sentinel_testbed::{CostBudget as Price, Redis, redis};
use tokio::sync::{Mutex, MutexGuard};

use crate::cost::prices::UNITS;

/// A store on the metered server, which no other test uses meanwhile.
pub(crate) struct Meter {
    pub(crate) desk: Desk,
    untrue: Vec<String>,
    _alone: MutexGuard<'static, ()>,
}

/// Where operations are asked for.
pub(crate) struct Desk {
    pub(crate) store: RedisStore,
    namespace: Namespace,
}

impl Desk {
    /// As long as a user's keys are, and as evenly spread.
    pub(crate) fn fresh(&self, kind: Kind) -> Address {
        let key = Key::new(format!("invoice-{}", ClaimId::random())).unwrap();
        Address { namespace: self.namespace.clone(), kind, key }
    }

    /// Makes a claim that must be granted.
    pub(crate) async fn granted(&self, address: &Address, claim: &Claim) -> Grant {
        let told = self.store.claim(address, claim).await.unwrap();
        let ClaimReply::Granted(granted) = told.reply else { panic!("not granted: {told:?}") };
        Grant { token: granted.token, claim_id: claim.claim_id }
    }
}

/// The file is rewritten when a test says so: never.
fn server() -> &'static Redis {
    static SERVER: OnceLock<Redis> = OnceLock::new();
    SERVER.get_or_init(|| Redis::start(redis::Options::default().setting("auto-aof-rewrite-percentage", "0")))
}

impl Meter {
    pub(crate) async fn open() -> Self {
        static ALONE: Mutex<()> = Mutex::const_new(());
        let alone = ALONE.lock().await;
        // One bucket: how a company spreads over many is chance.
        let builder =
            RedisStore::builder(&server().url()).key_prefix(ClaimId::random().to_string()).buckets(1);
        let desk =
            Desk { store: builder.init().await.unwrap(), namespace: Namespace::new("billing").unwrap() };
        Self { desk, untrue: Vec::new(), _alone: alone }
    }

    /// Sets the scene for so many of an operation, measures them alone, and notes it if the price is not true.
    pub(crate) async fn measure<T>(
        &mut self,
        price: &Price<3>,
        many: usize,
        scene: impl AsyncFn(&Desk) -> T,
        operation: impl AsyncFn(&Desk, T),
    ) {
        // The first round pays for connections, and for scripts that the server does not know yet.
        self.round(many, &scene, &operation).await;
        let mut trial = price.trial(&UNITS);
        while trial.goes_on() {
            trial.note(self.round(many, &scene, &operation).await);
        }
        self.untrue.extend(trial.verdict().err());
    }

    async fn round<T>(
        &self,
        many: usize,
        scene: impl AsyncFn(&Desk) -> T,
        operation: impl AsyncFn(&Desk, T),
    ) -> [f64; 3] {
        let mut scenes = Vec::new();
        for _ in 0..many {
            scenes.push(scene(&self.desk).await);
        }
        let before = read();
        for scene in scenes {
            operation(&self.desk, scene).await;
        }
        let after = read();
        std::array::from_fn(|n| (after[n] - before[n]) as f64 / many as f64)
    }

    /// Panics if a price was not true.
    #[track_caller]
    pub(crate) fn settle(&self) {
        assert!(self.untrue.is_empty(), "{}", self.untrue.join("\n"));
    }
}

/// Running counters: calls of scripts, commands with those that scripts give, bytes of the append-only file.
fn read() -> [u64; 3] {
    let told = server().cli(&["INFO", "commandstats"]);
    let (mut scripts, mut commands) = (0, 0);
    for line in told.lines() {
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
