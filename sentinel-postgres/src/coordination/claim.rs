//! Claims: inserted in a batch where there is no row, read where there is one, and locked only where they may be
//! granted.

use std::time::Duration;

use futures_util::FutureExt as _;
use sentinel_core::kernel::{self, Operation, Reading};
use sentinel_core::operation::*;
use sentinel_core::{Address, Kind, State, StoreError, StoreTime, Token};
use sentinel_store_kit::reply;

use super::insert_complete::{ItemResult, PendingCall};
use super::operations::{Coordination, MAX_ATTEMPTS, contended};
use super::read::Snapshot;
use super::{transition, update};

impl Coordination {
    /// Claims, step by step: each step gives a reply, or the next step.
    pub(crate) async fn claim(
        &self,
        address: &Address,
        op: &Claim,
    ) -> Result<Stamped<ClaimReply>, StoreError> {
        op.admit(address.kind)?;
        let mut step = match address.kind {
            Kind::Execution if self.completed_hints.expects(address) => ClaimStep::Replay,
            Kind::Execution => ClaimStep::Insert,
            // A lease's row is there after its first claim, and claims of a held lease are repeated often.
            Kind::Lease => ClaimStep::Read,
        };
        for _ in 0..MAX_ATTEMPTS {
            let reply = match step {
                ClaimStep::Replay => self.replay(address, op).await?.ok_or(ClaimStep::Read),
                ClaimStep::Insert => self.insert(address, op).await?.ok_or(ClaimStep::Read),
                ClaimStep::Read => judge(address, op, self.read(address, true).await?)?,
                ClaimStep::TakeOver => self.take_over(address, op).await?.ok_or(ClaimStep::Insert),
            };
            match reply {
                Ok(stamped) => {
                    match stamped.reply {
                        ClaimReply::Completed { .. } => self.completed_hints.expect(address),
                        ClaimReply::Granted(_) => self.notifications.work_began(),
                        _ => {}
                    }
                    return Ok(stamped);
                }
                Err(next) => step = next,
            }
        }
        Err(contended(Claim::NAME))
    }

    /// Replies with a recorded result. None: it is not completed, or need not stay.
    async fn replay(
        &self,
        address: &Address,
        claim: &Claim,
    ) -> Result<Option<Stamped<ClaimReply>>, StoreError> {
        let Some((mut record, now)) = self.result(address).await? else { return Ok(None) };
        let at = Reading { kind: address.kind, now, floor: Token::NONE };
        let stamped = kernel::apply(&mut record, claim, at)?.stamped;
        // Any other reply for a completed record needs more of it than was read.
        let is_final =
            matches!(stamped.reply, ClaimReply::Completed { .. } | ClaimReply::FingerprintMismatch);
        Ok(is_final.then_some(stamped))
    }

    /// Claims an address that has no row, in a batch.
    async fn insert(
        &self,
        address: &Address,
        claim: &Claim,
    ) -> Result<Option<Stamped<ClaimReply>>, StoreError> {
        let (call, receiver) = PendingCall::claim(address.clone(), claim.clone());
        self.insert_complete.send(call);
        match reply(receiver, self.limit()).await? {
            ItemResult::Done(stamped) => Ok(Some(stamped)),
            ItemResult::Unchanged => Ok(None),
            ItemResult::Alone => self.insert_alone(address, claim).await,
        }
    }

    async fn insert_alone(
        &self,
        address: &Address,
        claim: &Claim,
    ) -> Result<Option<Stamped<ClaimReply>>, StoreError> {
        let (address, claim, context) = (address.clone(), claim.clone(), self.context.clone());
        self.single_statements
            .run(move |connection| {
                async move {
                    let offset = context.offset();
                    match transition::claim_absent(connection, &context.sql, offset, &address, &claim).await {
                        Err(call_error) if call_error.is_lock_timeout() => {
                            Ok(Some(held_by_a_transaction(address.kind)))
                        }
                        done => Ok(done?),
                    }
                }
                .boxed()
            })
            .await
    }

    /// Takes over the row that an address has. None: it has none.
    async fn take_over(
        &self,
        address: &Address,
        claim: &Claim,
    ) -> Result<Option<Stamped<ClaimReply>>, StoreError> {
        let (call, receiver) = update::PendingCall::new(address, claim);
        self.updates.send(call);
        if let Some(stamped) = reply(receiver, self.limit()).await? {
            return Ok(Some(stamped));
        }
        let (address, claim, context) = (address.clone(), claim.clone(), self.context.clone());
        self.single_statements
            .run(move |connection| {
                async move {
                    match transition::run(connection, &context.sql, context.offset(), &address, &claim).await
                    {
                        Err(call_error) if call_error.is_lock_timeout() => {
                            Ok(Some(held_by_a_transaction(address.kind)))
                        }
                        done => Ok(done?),
                    }
                }
                .boxed()
            })
            .await
    }
}

/// The next step of a claim.
enum ClaimStep {
    Replay,
    Insert,
    Read,
    TakeOver,
}

/// The reply to a claim by a record that was read without a lock; or the step that locks its row.
fn judge(
    address: &Address,
    claim: &Claim,
    snapshot: Snapshot,
) -> Result<Result<Stamped<ClaimReply>, ClaimStep>, StoreError> {
    let Some(mut record) = snapshot.record else {
        return Ok(Err(if snapshot.has_row { ClaimStep::TakeOver } else { ClaimStep::Insert }));
    };
    let at = Reading { kind: address.kind, now: snapshot.now, floor: Token::NONE };
    let stamped = kernel::apply(&mut record, claim, at)?.stamped;
    match stamped.reply {
        // Granted anew, or once more: either is decided under the lock, and passes the barrier.
        ClaimReply::Granted(_) => Ok(Err(ClaimStep::TakeOver)),
        _ => Ok(Ok(stamped)),
    }
}

/// The reply to a claim of an address that an undecided transaction holds: nothing was changed, and nothing can be read
/// yet.
fn held_by_a_transaction(kind: Kind) -> Stamped<ClaimReply> {
    let state = match kind {
        Kind::Execution => State::Executing,
        Kind::Lease => State::Claimed,
    };
    let stamp = Stamp::unseen(StoreTime::ZERO);
    Stamped { reply: ClaimReply::InProgress { state, remaining: Duration::ZERO }, stamp }
}
