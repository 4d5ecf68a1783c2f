//! Claims an execution in a transaction of the user's, who alone commits it. A runtime builds its `once_in_transaction`
//! from this.
//!
//! All that is done here is done under a savepoint (`savepoint.rs`), and handed out after a commit that was checked
//! (`commit.rs`).

use std::fmt;
use std::time::Duration;

use sentinel_core::kernel::Operation as _;
use sentinel_core::operation::*;
use sentinel_core::{Address, ErrorKind, Grant, Invalid, RecordedResult, State, StoreError, Token, Verdict};
use sqlx::{PgConnection, Postgres, Transaction};

use super::commit::{Completed, Pending};
use super::savepoint::{Savepoint, ended};
use crate::coordination::context::Context;
use crate::coordination::operations::{Coordination, MAX_ATTEMPTS};

/// What [`PostgresStore::claim_in`](crate::PostgresStore::claim_in) found.
#[must_use = "a granted claim is completed or undone before the transaction ends"]
#[derive(Debug)]
pub enum ClaimInTransaction<'t> {
    /// The execution is claimed and begun in the transaction.
    Granted(GrantInTransaction<'t>),
    /// It was completed earlier in this very transaction: the result becomes true at the commit. Nothing of this claim
    /// is left in the transaction.
    CompletedHere(Pending<RecordedResult>),
    /// The reply that any other caller would get, never `Granted`. Nothing of this claim is left in the transaction.
    Refused(ClaimReply),
}

/// An execution that runs in a transaction of the user's.
///
/// End it with [`complete`](Self::complete) or [`undo`](Self::undo). Where it is dropped before, its claim stays in the
/// transaction: roll the transaction back. Committed as it is, the key becomes uncertain.
#[must_use = "complete it or undo it: committed as it is, the key would be uncertain"]
pub struct GrantInTransaction<'t> {
    savepoint: Savepoint<'t>,
    address: &'t Address,
    grant: Grant,
}

impl fmt::Debug for GrantInTransaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, grant, .. } = self;
        f.debug_struct("GrantInTransaction")
            .field("address", address)
            .field("grant", grant)
            .finish_non_exhaustive()
    }
}

impl GrantInTransaction<'_> {
    /// Token and claim id.
    pub fn grant(&self) -> Grant {
        self.grant
    }

    /// The connection of the transaction, for what the function writes. It must not end the transaction.
    pub fn connection(&mut self) -> &mut PgConnection {
        self.savepoint.connection
    }

    /// Completes the execution in the transaction.
    ///
    /// **Effect:** none before the commit: [`Pending::commit`] commits, and checks that the server did.
    /// **Errors:** the claim and all that was written since are undone, or the connection is gone and the server rolls
    /// back. One error alone is ambiguous: the function ended the transaction (`COMMIT` or `ROLLBACK` as SQL).
    pub async fn complete(mut self, result: RecordedResult) -> Result<Pending<()>, StoreError> {
        let op = Complete { grant: self.grant, result };
        let error = match self.savepoint.complete(self.address, &op).await {
            Ok(CompleteReply::Recorded { .. }) => match self.savepoint.keep().await {
                Ok(()) => {
                    let completed = completed(self.savepoint.context, self.address, self.grant.token);
                    return Ok(Pending::new((), completed));
                }
                Err(error) => error,
            },
            // The claim is not there any more, though no other session can have seen it.
            Ok(_) => ended(),
            Err(error) => error,
        };
        Err(self.savepoint.give_up(error).await)
    }

    /// Undoes the claim and all that was written since. The transaction goes on without it.
    ///
    /// **Errors:** as for [`complete`](Self::complete).
    pub async fn undo(mut self) -> Result<(), StoreError> {
        self.savepoint.undo().await
    }
}

/// Checks how long a statement may wait for a lock: above zero, and at most a minute.
pub fn check_lock_timeout(timeout: Duration) -> Result<(), Invalid> {
    match timeout.is_zero() || timeout > Duration::from_secs(60) {
        true => Err(Invalid::new("lock timeout", "must be above zero and at most a minute")),
        false => Ok(()),
    }
}

pub(crate) async fn claim_in<'t>(
    coordination: &'t Coordination,
    transaction: &'t mut Transaction<'_, Postgres>,
    address: &'t Address,
    claim: &Claim,
    lock_timeout: Option<Duration>,
) -> Result<ClaimInTransaction<'t>, StoreError> {
    claim.admit(address.kind)?;
    if claim.phase != Phase::Executing {
        return Err(
            Invalid::new("phase", "must be executing: a claim in a transaction begins at once").into()
        );
    }
    if let Some(timeout) = lock_timeout {
        check_lock_timeout(timeout)?;
    }
    let context = &*coordination.context;
    let lock_timeout = lock_timeout.unwrap_or(context.lock_timeout);
    let mut savepoint = Savepoint::enter(transaction, context, lock_timeout).await?;
    let granted = match send(coordination, &mut savepoint, address, claim).await {
        Ok(Entry::Replied(ClaimReply::Granted(granted))) => granted,
        Ok(Entry::Replied(refused)) => {
            savepoint.undo().await?;
            return Ok(ClaimInTransaction::Refused(refused));
        }
        Ok(Entry::CompletedHere(recorded, token)) => {
            savepoint.undo().await?;
            let pending = Pending::new(recorded, completed(context, address, token));
            return Ok(ClaimInTransaction::CompletedHere(pending));
        }
        Err(error) => return Err(savepoint.give_up(error).await),
    };
    if let Err(error) = savepoint.restore().await {
        return Err(savepoint.give_up(error).await);
    }
    let grant = Grant { token: granted.token, claim_id: claim.claim_id };
    Ok(ClaimInTransaction::Granted(GrantInTransaction { savepoint, address, grant }))
}

/// The result of a claim.
enum Entry {
    /// The reply that any other caller would get.
    Replied(ClaimReply),
    /// It was completed earlier in this very transaction, under this token.
    CompletedHere(RecordedResult, Token),
}

/// Claims. What was completed is replayed only once it is as durable as the deployment promises: the store reads it on
/// a connection of its own, since a transaction passes no barrier before it commits. What that connection does not see
/// was completed in this transaction.
async fn send(
    coordination: &Coordination,
    savepoint: &mut Savepoint<'_>,
    address: &Address,
    claim: &Claim,
) -> Result<Entry, StoreError> {
    for _ in 0..MAX_ATTEMPTS {
        if let Some(Stamped { reply, .. }) = savepoint.claim_absent(address, claim).await? {
            return Ok(Entry::Replied(reply));
        }
        let Some(Stamped { reply, stamp }) = savepoint.take_over(address, claim).await? else { continue };
        let ClaimReply::Completed { result, .. } = reply else { return Ok(Entry::Replied(reply)) };
        let record = coordination.read(address, true).await?.record;
        let is_committed =
            record.is_some_and(|record| record.state == State::Completed && record.token == stamp.token);
        return Ok(match is_committed || result.verdict == Verdict::Failure {
            true => Entry::Replied(ClaimReply::Completed { result, remaining: None }),
            false => Entry::CompletedHere(result, stamp.token),
        });
    }
    let detail = "the record came and went each time it was looked at";
    Err(StoreError::not_applied(ErrorKind::Busy, detail))
}

fn completed(context: &Context, address: &Address, token: Token) -> Completed {
    Completed { records: context.sql.names().qualified("records"), address: address.clone(), token }
}
