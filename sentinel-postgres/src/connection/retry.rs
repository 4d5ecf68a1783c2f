//! Sends a statement again that others kept from succeeding.

use sqlx::postgres::PgRow;

use super::session::{Connection, Query};
use crate::error::StatementError;

/// How often a statement is sent that others keep from succeeding: by a serialisation failure or a deadlock.
const MAX_TRIES: u32 = 50;

/// Runs a statement, and runs it again after a conflict: each time all of it was rolled back.
pub(crate) async fn retry_on_conflict<'q>(
    connection: &mut Connection,
    query: impl Fn() -> Query<'q>,
) -> Result<Vec<PgRow>, StatementError> {
    for _ in 1..MAX_TRIES {
        match connection.run(query()).await {
            Err(error) if error.is_conflict() => tokio::task::yield_now().await,
            done => return done,
        }
    }
    connection.run(query()).await
}
