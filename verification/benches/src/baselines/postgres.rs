//! What two durable writes cost through the driver that the store is written with: the limit without batching.

use std::sync::Arc;

use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::context::BenchContext;
use crate::measure::{Op, op};
use crate::target::Target;

pub(crate) const TWO_WRITES: &str = "INSERT and UPDATE, nothing checked (sqlx)";

/// More connections make it slower at 128 callers.
const CONNECTIONS: u32 = 16;

/// Connections that are not tested before use.
pub(crate) fn pool(context: &BenchContext, target: Target) -> PgPool {
    let options = PgPoolOptions::new().max_connections(CONNECTIONS).test_before_acquire(false);
    context.runtime.block_on(options.connect(&context.postgres_url(target))).unwrap()
}

/// A row that is inserted, and then updated: two commits.
pub(crate) fn two_writes(
    context: &BenchContext,
    target: Target,
    key: impl Fn(u64) -> String + Send + Sync + 'static,
) -> Op {
    let (pool, body) = (pool(context, target), Arc::new("a".repeat(100)));
    op(move |n| {
        let (pool, body, key) = (pool.clone(), Arc::clone(&body), key(n));
        async move {
            let insert = sqlx::query("INSERT INTO bare (key, payload) VALUES ($1, NULL)");
            insert.bind(&key).execute(&pool).await.unwrap();
            let update = sqlx::query("UPDATE bare SET payload = $2 WHERE key = $1");
            update.bind(&key).bind(body.as_bytes()).execute(&pool).await.unwrap();
        }
    })
}
