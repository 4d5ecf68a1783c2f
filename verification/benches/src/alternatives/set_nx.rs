//! On Redis: a lock by `SET NX PX`, and the result under a key of its own.

use fred::clients::Client;
use fred::interfaces::ClientLike as _;
use fred::types::config::Config;
use fred::types::{Builder, ClusterHash, CustomCommand, Value};

use crate::context::BenchContext;
use crate::measure::{Op, op};
use crate::target::Target;

pub(crate) const NAME: &str = "SET NX PX and a result key (fred)";
pub(crate) const LACKS: &str = "if a run takes longer than its lock, the next caller runs it again while \
 it still runs, although its effect may have happened; no heartbeat, no fencing token, no report of an \
 unknown outcome, no log of what happened, and after a server has lost its keys everything runs again.";

/// Deletes the lock only if the caller still holds it.
const UNLOCK: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

/// A client with one connection, as ours has.
pub(crate) fn connect(context: &BenchContext, url: &str) -> Client {
    let client = Builder::from_config(Config::from_url(url).unwrap()).build().unwrap();
    context.runtime.block_on(client.init()).unwrap();
    client
}

/// Any command.
pub(crate) async fn send(client: &Client, name: &'static str, args: Vec<Value>) -> Value {
    client.custom(CustomCommand::new_static(name, ClusterHash::FirstKey, false), args).await.unwrap()
}

/// A fresh execution.
pub(crate) fn fresh(
    context: &BenchContext,
    target: Target,
    key: impl Fn(u64) -> String + Send + Sync + 'static,
) -> Op {
    let server = context.redis(target);
    let (client, unlock) = (connect(context, &server.url()), server.cli(&["SCRIPT", "LOAD", UNLOCK]));
    op(move |n| once(client.clone(), unlock.clone(), key(n)))
}

async fn once(client: Client, unlock: String, key: String) {
    let (lock, result, mine) = (format!("lock:{key}"), format!("result:{key}"), format!("web1:{key}"));
    assert!(send(&client, "GET", vec![result.clone().into()]).await.is_null());
    let take = vec![lock.clone().into(), mine.clone().into(), "NX".into(), "PX".into(), "30000".into()];
    assert!(!send(&client, "SET", take).await.is_null());
    // The function would run here.
    send(&client, "SET", vec![result.into(), "a".repeat(100).into()]).await;
    send(&client, "EVALSHA", vec![unlock.into(), "1".into(), lock.into(), mine.into()]).await;
}
