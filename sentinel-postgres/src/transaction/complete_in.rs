//! Completes an execution in a transaction of the user's, who alone commits it.

use sentinel_core::kernel::Operation as _;
use sentinel_core::operation::*;
use sentinel_core::{Address, Grant, RecordedResult, StoreError};
use sqlx::{Postgres, Transaction};

use super::savepoint::Savepoint;
use crate::coordination::context::Context;

pub(crate) async fn complete_in(
    context: &Context,
    transaction: &mut Transaction<'_, Postgres>,
    address: &Address,
    grant: Grant,
    result: &RecordedResult,
) -> Result<CompleteReply, StoreError> {
    let op = Complete { grant, result: result.clone() };
    op.admit(address.kind)?;
    let mut savepoint = Savepoint::enter(transaction, context, context.lock_timeout).await?;
    let done = match savepoint.complete(address, &op).await {
        Ok(CompleteReply::Recorded { late }) => match savepoint.restore().await {
            Ok(()) => savepoint.keep().await.map(|()| CompleteReply::Recorded { late }),
            Err(error) => Err(error),
        },
        Ok(refused) => return savepoint.undo().await.map(|()| refused),
        Err(error) => Err(error),
    };
    match done {
        Ok(reply) => Ok(reply),
        Err(error) => Err(savepoint.give_up(error).await),
    }
}
