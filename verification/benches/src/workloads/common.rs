//! Keys, claims and operations that workloads share.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sentinel_client::Outcome;
use sentinel_client::Sentinel;
use sentinel_core::operation::{Claim, ClaimReply, Complete, Phase};
use sentinel_core::{
    Address, ClaimId, CoordinationStore, Grant, Key, Kind, Label, Namespace, Payload, RecordedResult, Terms,
};

use crate::baselines::{pgbench, redis, sqlite};
use crate::context::{BenchContext, NAMESPACE, client};
use crate::measure::{Op, Run, op};
use crate::target::Target;

/// How many completed records there are to replay: as many as the baselines read from.
pub(crate) const KEYS: u64 = pgbench::KEYS;

/// A result of 100 bytes, quotes included.
pub(crate) fn receipt() -> String {
    "a".repeat(98)
}

pub(crate) fn address(kind: Kind, key: impl AsRef<str>) -> Address {
    Address { kind, ..Address::execution(Namespace::new(NAMESPACE).unwrap(), Key::new(key).unwrap()) }
}

pub(crate) fn claim(phase: Phase) -> Claim {
    Claim {
        cause: None,
        about: None,
        claim_id: ClaimId::random(),
        terms: Terms::new(Duration::from_secs(30), Duration::from_secs(3600)).unwrap(),
        retention: None,
        fingerprint: None,
        worker: Label::new("web1:8742").unwrap(),
        phase,
        accepts: sentinel_core::Accepts::any(),
    }
}

/// A grant of a key that no other caller has.
pub(crate) async fn granted(store: &dyn CoordinationStore, address: &Address, phase: Phase) -> Grant {
    let claim = claim(phase);
    let reply = store.claim(address, &claim).await.unwrap().reply;
    let ClaimReply::Granted(granted) = reply else { panic!("not granted: {reply:?}") };
    Grant { token: granted.token, claim_id: claim.claim_id }
}

/// Claim and completion, without the client.
pub(crate) async fn by_the_store(store: Arc<dyn CoordinationStore>, key: String) {
    let address = address(Kind::Execution, key);
    let grant = granted(&*store, &address, Phase::Executing).await;
    let result = RecordedResult::success(Payload::new(Payload::JSON, format!("\"{}\"", receipt())));
    store.complete(&address, &Complete { grant, result }).await.unwrap();
}

/// All of `once`: its task, its checks, its encoding, its keeper.
pub(crate) async fn fresh(sentinel: Sentinel, key: String) {
    let outcome = sentinel.once(key).run(|_| async { Ok::<_, std::io::Error>(receipt()) }).await;
    assert!(matches!(outcome.unwrap(), Outcome::Completed(_)));
}

pub(crate) async fn replayed(sentinel: Sentinel, key: String) {
    let outcome = sentinel.once(key).run(|_| async { Ok::<_, std::io::Error>(String::new()) }).await;
    assert!(matches!(outcome.unwrap(), Outcome::Replayed(_)));
}

/// New keys; none is a neighbour of another in order.
pub(crate) fn fresh_key(salt: u64) -> impl Fn(u64) -> String + Clone + Send + Sync + 'static {
    move |n| format!("invoice-{:016x}-{salt}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// A fresh execution by the client.
pub(crate) fn fresh_op(sentinel: Sentinel, salt: u64) -> Op {
    let key = fresh_key(salt);
    op(move |n| fresh(sentinel.clone(), key(n)))
}

/// A replay of one of the keys that [`filled`] completed.
pub(crate) fn replay_op(sentinel: Sentinel) -> Op {
    op(move |n| replayed(sentinel.clone(), old_key(n)))
}

/// One of the keys that [`filled`] completed.
pub(crate) fn old_key(n: u64) -> String {
    format!("replay-{}", n.wrapping_mul(7919) % KEYS)
}

/// A client of a store with completed records.
pub(crate) fn filled(context: &BenchContext, target: Target) -> Sentinel {
    let fill = |store: &Arc<dyn CoordinationStore>| {
        in_pages(context, KEYS, |n| by_the_store(Arc::clone(store), format!("replay-{n}")));
    };
    client(context.filled(target, fill))
}

/// Does something this many times, a thousand at once.
pub(crate) fn in_pages<T, F: Future<Output = T>>(
    context: &BenchContext,
    count: u64,
    one: impl Fn(u64) -> F,
) -> Vec<T> {
    let mut all = Vec::new();
    for first in (0..count).step_by(1000) {
        let page = (first..count.min(first + 1000)).map(&one);
        all.extend(context.runtime.block_on(join_all(page)));
    }
    all
}

/// One durable write.
pub(crate) fn write_baseline<'a>(
    context: &'a BenchContext,
    target: Target,
    callers: usize,
) -> (&'static str, Run<'a>) {
    match target {
        Target::Sqlite => ("INSERT, one connection", sqlite::insert(context, 100)),
        Target::RedisAlways | Target::RedisEverysec => {
            ("EVALSHA of one HSET", redis::evalsha_hset(context.redis(target), callers))
        }
        _ => ("pgbench INSERT", pgbench::script(context, target, callers, pgbench::INSERT)),
    }
}

/// One read by key.
pub(crate) fn read_baseline<'a>(
    context: &'a BenchContext,
    target: Target,
    callers: usize,
) -> (&'static str, Run<'a>) {
    match target {
        Target::Sqlite => ("SELECT, one connection", sqlite::select(context)),
        Target::RedisAlways | Target::RedisEverysec => {
            ("HGETALL", redis::hgetall(context.redis(target), callers))
        }
        _ => ("pgbench SELECT", pgbench::script(context, target, callers, pgbench::SELECT)),
    }
}
