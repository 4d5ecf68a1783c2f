//! On PostgreSQL: a table with a state, taken and completed in two transactions.

use sqlx::PgPool;

use crate::baselines::postgres;
use crate::context::BenchContext;
use crate::measure::{Op, op};
use crate::target::Target;

pub(crate) const NAME: &str = "upsert in two transactions (sqlx)";
pub(crate) const LACKS: &str = "if a run takes longer than its lease, the next caller runs it again while \
 it still runs, although its effect may have happened; no heartbeat, no fencing token, no report of an \
 unknown outcome, no log of what happened, and a lost reply is an error.";

const TABLE: &str = "CREATE TABLE IF NOT EXISTS by_hand \
    (key text PRIMARY KEY, done bool NOT NULL, until timestamptz NOT NULL, payload bytea)";
const TAKE: &str = "INSERT INTO by_hand (key, done, until) VALUES ($1, false, now() + interval '30 s') \
    ON CONFLICT (key) DO UPDATE SET until = EXCLUDED.until WHERE NOT by_hand.done AND by_hand.until < now() \
    RETURNING key";
const DONE: &str = "UPDATE by_hand SET done = true, payload = $2 WHERE key = $1";

/// A fresh execution.
pub(crate) fn fresh(
    context: &BenchContext,
    target: Target,
    key: impl Fn(u64) -> String + Send + Sync + 'static,
) -> Op {
    context.postgres().psql(TABLE);
    let pool = postgres::pool(context, target);
    op(move |n| once(pool.clone(), key(n)))
}

async fn once(pool: PgPool, key: String) {
    let mut transaction = pool.begin().await.unwrap();
    let taken = sqlx::query(TAKE).bind(&key).fetch_optional(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert!(taken.is_some());
    // The function would run here.
    let payload = "a".repeat(100);
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query(DONE).bind(&key).bind(payload.as_bytes()).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
}
