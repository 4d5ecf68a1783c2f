//! A store under a prefix of its own, with one bucket for each namespace, and direct access to its keys.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use sentinel_core::kernel::{Op, Reading, Reply};
use sentinel_core::operation::*;
use sentinel_core::store::{Purge, Purged};
use sentinel_core::{
    Address, ClaimId, CoordinationStore as _, Grant, Kind, Namespace, OpId, PURGE_REST, Token,
};
use sentinel_redis::{RedisStore, RedisStoreBuilder};
use sentinel_testbed::redis;

pub(crate) use sentinel_store_tests::fixtures::{HARD, TTL, call, fused, label, result, runtime};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
/// More than a record must rest before it is purged.
pub(crate) const REST: Duration = Duration::from_secs(PURGE_REST.as_secs() + 60);

/// A store, and direct access to its keys.
#[derive(Clone)]
pub(crate) struct StoreHarness {
    pub(crate) store: RedisStore,
    pub(crate) namespace: Namespace,
    pub(crate) prefix: String,
    offset: Arc<AtomicI64>,
    change: Arc<dyn Fn(RedisStoreBuilder) -> RedisStoreBuilder + Send + Sync>,
}

impl StoreHarness {
    /// A store on the shared server.
    pub(crate) async fn open(
        change: impl Fn(RedisStoreBuilder) -> RedisStoreBuilder + Send + Sync + 'static,
    ) -> Self {
        let prefix = format!("harness-{}", ClaimId::random());
        let offset = Arc::new(AtomicI64::new(0));
        let builder = RedisStore::builder(&redis().url()).key_prefix(&prefix).buckets(1);
        let store = change(builder.clock_offset(offset.clone())).init().await.unwrap();
        Self { store, namespace: namespace(), prefix, offset, change: Arc::new(change) }
    }

    /// The same store as a user who may not send a command.
    pub(crate) async fn without(&self, command: &str) -> RedisStore {
        let user = ClaimId::random().to_string();
        let denied = format!("-{command}");
        self.raw(&["ACL", "SETUSER", &user, "on", ">secret", "~*", "&*", "+@all", &denied]);
        let url = redis().url().replacen("://", &format!("://{user}:secret@"), 1);
        let builder = RedisStore::builder(&url).key_prefix(&self.prefix).clock_offset(self.offset.clone());
        (self.change)(builder).open().await.unwrap()
    }

    /// Sends any operation, which must succeed. The record and the event must be those that the kernel computes.
    pub(crate) async fn ask(&self, address: &Address, op: impl Into<Op>) -> Stamped<Reply> {
        let op = op.into();
        let (mut record, floor) = (self.record(address).await, self.floor());
        let outcome = op.send(&self.store, address).await;
        let received = outcome.unwrap_or_else(|error| panic!("{op:?} was not answered: {error}"));
        let at = Reading { kind: address.kind, now: received.stamp.now, floor };
        let meant = op.apply(&mut record, at).unwrap();
        assert_eq!(received, meant.stamped, "{op:?} was answered otherwise");
        assert_eq!(self.record(address).await, record, "{op:?} wrote something else");
        if let Some(event) = meant.event {
            assert_eq!(self.store.history(address, 1).await.unwrap(), [event], "{op:?} has another event");
        }
        received
    }

    fn floor(&self) -> Token {
        Token::from_stored(self.raw(&["GET", &self.named("floor")]).parse().unwrap_or_default())
    }

    /// Sends an operation that must change the record.
    pub(crate) async fn change(&self, address: &Address, op: impl Into<Op>) -> Stamp {
        let received = self.ask(address, op).await;
        assert!(received.stamp.changed, "{received:?}");
        received.stamp
    }

    /// A claim that must be granted.
    pub(crate) async fn granted(&self, address: &Address, claim: &Claim) -> Grant {
        let received = self.ask(address, claim.clone()).await;
        let Reply::Claim(ClaimReply::Granted(granted)) = received.reply else {
            panic!("not granted: {received:?}")
        };
        Grant { token: granted.token, claim_id: claim.claim_id }
    }

    /// An execution that must be completed.
    pub(crate) async fn completed(&self, address: &Address, claim: &Claim) -> Grant {
        let grant = self.granted(address, claim).await;
        self.change(address, Complete { grant, result: result("done") }).await;
        grant
    }

    /// A tombstone, and its token.
    pub(crate) async fn tombstone(&self, address: &Address) -> Token {
        let grant = self.granted(address, &call()).await;
        self.change(address, Release { grant, vouched: false }).await;
        grant.token
    }

    /// An uncertain key that an operator has taken, and the reconcile token.
    pub(crate) async fn taken(&self, address: &Address, claim: &Claim) -> Token {
        let expect = self.granted(address, claim).await.token;
        let (op_id, operator, reason) = (OpId::random(), label("olga"), Some(label("why")));
        let decision = Reconcile { op_id, operator, reason, expect, even_if_alive: true, steal: false };
        self.change(address, decision).await.token
    }

    /// A tombstone whose incarnation a reset has offered again.
    pub(crate) async fn reset(&self, address: &Address) -> Token {
        let token = self.taken(address, &fused()).await;
        let (op_id, operator, reason) = (OpId::random(), label("olga"), Some(label("why")));
        let decision = ResetToClaimed { op_id, token, operator, reason, accept_overlap: true };
        self.change(address, decision).await.token
    }

    /// The names of its changes, oldest first.
    pub(crate) async fn changes(&self, address: &Address) -> Vec<&'static str> {
        let events = self.store.history(address, u32::MAX).await.unwrap();
        events.iter().map(|event| event.change.name()).collect()
    }

    pub(crate) async fn purged(&self, dry_run: bool) -> Purged {
        let purge = Purge { namespace: self.namespace.clone(), limit: u32::MAX, dry_run };
        self.store.purge(&purge).await.unwrap()
    }

    pub(crate) async fn purge(&self) -> u64 {
        self.purged(false).await.records
    }

    /// The name of one of the bucket's own keys.
    pub(crate) fn named(&self, what: &str) -> String {
        format!("{}:{{{}:0}}:{what}", self.prefix, self.namespace)
    }

    /// The name of one of the keys of a record: `r` for itself, `v` for its events, `g` for what a purge left of it.
    pub(crate) fn key(&self, what: char, address: &Address) -> String {
        self.named(&format!("{what}:{}:{}", letter(address.kind), address.key.as_str()))
    }

    /// Sends a command to the server, and returns its reply.
    pub(crate) fn raw(&self, command: &[&str]) -> String {
        redis().cli(command)
    }

    /// The record is gone, and so is its list of events if it has one: as if they had expired, or had been dropped.
    pub(crate) fn delete_record(&self, address: &Address) {
        let deleted = self.raw(&["DEL", &self.key('r', address)]);
        assert_eq!(deleted, "1", "nothing was there to lose");
        self.raw(&["DEL", &self.key('v', address)]);
    }

    /// Accepts the loss of a bucket, as an operator does.
    pub(crate) fn accept_loss(&self, marker: &str) {
        self.raw(&["SET", &self.named("marker"), marker]);
        for kind in ['e', 'l'] {
            self.raw(&["ZADD", &self.named(&format!("index:{kind}")), "0", ""]);
        }
    }
}

fn namespace() -> Namespace {
    Namespace::new(format!("harness-{}", ClaimId::random())).unwrap()
}

pub(crate) fn letter(kind: Kind) -> char {
    match kind {
        Kind::Execution => 'e',
        Kind::Lease => 'l',
    }
}

// With one bucket, the floor of a namespace is what the suite thinks it is.
sentinel_store_tests::harness!(StoreHarness);

/// The server's clock in microseconds.
pub(crate) fn server_time() -> i64 {
    let reply = redis().cli(&["TIME"]);
    let (seconds, micros) = reply.split_once('\n').unwrap();
    seconds.parse::<i64>().unwrap() * 1_000_000 + micros.parse::<i64>().unwrap()
}

/// A fused call whose result is kept for a day.
pub(crate) fn kept() -> Claim {
    Claim { retention: Some(DAY), ..fused() }
}

/// A claim of a worker with a long name: the events of two changes are too long for the record itself.
pub(crate) fn wordy(claim: Claim) -> Claim {
    Claim { worker: label(&"w".repeat(700)), ..claim }
}
