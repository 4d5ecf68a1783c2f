//! Claims: inserted with others where there is no row, looked at where there is one, and locked only where they may be granted.

use std::time::Duration;

use futures_util::FutureExt as _;
use sentinel_core::kernel::{self, Operation, Reading};
use sentinel_core::operation::*;
use sentinel_core::{Address, Kind, State, StoreError, StoreTime, Token};

use crate::lane::answered;
use crate::lane::hot::{Flushed, Item};
use crate::lane::look::Seen;
use crate::lane::turn;
use crate::store::{LOOKS, PostgresStore, now, restless};
use crate::transition;

impl PostgresStore {
    /// Claims, step by step: each says what to try next, or answers.
    pub(crate) async fn claim_step_by_step(
        &self,
        address: &Address,
        op: &Claim,
    ) -> Result<Stamped<ClaimReply>, StoreError> {
        op.admit(address.kind)?;
        let mut way = match address.kind {
            Kind::Execution if self.inner.replays.expects(address) => Way::Replay,
            Kind::Execution => Way::Insert,
            // A lease's row is there after its first time, and whoever asks for one that is held asks again and again.
            Kind::Lease => Way::Look,
        };
        for _ in 0..LOOKS {
            let answer = match way {
                Way::Replay => self.replay(address, op).await?.ok_or(Way::Look),
                Way::Insert => self.insert(address, op).await?.ok_or(Way::Look),
                Way::Look => judge(address, op, self.look(address, true).await?)?,
                Way::TakeOver => self.take_over(address, op).await?.ok_or(Way::Insert),
            };
            match answer {
                Ok(stamped) => {
                    match stamped.reply {
                        ClaimReply::Completed { .. } => self.inner.replays.expect(address),
                        ClaimReply::Granted(_) => self.inner.listening.work_began(),
                        _ => {}
                    }
                    return Ok(stamped);
                }
                Err(next) => way = next,
            }
        }
        Err(restless(Claim::NAME))
    }

    /// Answers with a recorded result. None: it is not completed, or need not stay.
    async fn replay(
        &self,
        address: &Address,
        claim: &Claim,
    ) -> Result<Option<Stamped<ClaimReply>>, StoreError> {
        let Some((mut record, now)) = self.result(address).await? else { return Ok(None) };
        let at = Reading { kind: address.kind, now, floor: Token::NONE };
        let stamped = kernel::apply(&mut record, claim, at)?.stamped;
        // Whatever else the rules say of a completed record, they say with more of it in view.
        let is_final =
            matches!(stamped.reply, ClaimReply::Completed { .. } | ClaimReply::FingerprintMismatch);
        Ok(is_final.then_some(stamped))
    }

    /// Claims an address that has no row, in the company of others.
    async fn insert(
        &self,
        address: &Address,
        claim: &Claim,
    ) -> Result<Option<Stamped<ClaimReply>>, StoreError> {
        let (item, flushed) = Item::claim(address.clone(), claim.clone());
        self.inner.hot.send(item);
        match answered(flushed, self.limit()).await? {
            Flushed::Done(stamped) => Ok(Some(stamped)),
            Flushed::Unchanged => Ok(None),
            Flushed::Alone => self.insert_alone(address, claim).await,
        }
    }

    async fn insert_alone(
        &self,
        address: &Address,
        claim: &Claim,
    ) -> Result<Option<Stamped<ClaimReply>>, StoreError> {
        let (address, claim, parts) = (address.clone(), claim.clone(), self.inner.parts.clone());
        self.inner
            .singles
            .run(move |link| {
                async move {
                    let offset = now(&parts.offset);
                    match transition::claim_absent(link, &parts.sql, offset, &address, &claim).await {
                        Err(unanswered) if unanswered.is_lock_timeout() => {
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
        let (item, turned) = turn::Item::new(address, claim);
        self.inner.turns.send(item);
        if let Some(stamped) = answered(turned, self.limit()).await? {
            return Ok(Some(stamped));
        }
        let (address, claim, parts) = (address.clone(), claim.clone(), self.inner.parts.clone());
        self.inner
            .singles
            .run(move |link| {
                async move {
                    match transition::run(link, &parts.sql, now(&parts.offset), &address, &claim).await {
                        Err(unanswered) if unanswered.is_lock_timeout() => {
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

/// The next way to go about a claim.
enum Way {
    Replay,
    Insert,
    Look,
    TakeOver,
}

/// What a claim makes of a record that was read without a lock: an answer, or that its row has to be locked.
fn judge(
    address: &Address,
    claim: &Claim,
    seen: Seen,
) -> Result<Result<Stamped<ClaimReply>, Way>, StoreError> {
    let Some(mut record) = seen.record else {
        return Ok(Err(if seen.has_row { Way::TakeOver } else { Way::Insert }));
    };
    let at = Reading { kind: address.kind, now: seen.now, floor: Token::NONE };
    let stamped = kernel::apply(&mut record, claim, at)?.stamped;
    match stamped.reply {
        // Granted anew, or once more: either is said under the lock, and passes the barrier.
        ClaimReply::Granted(_) => Ok(Err(Way::TakeOver)),
        _ => Ok(Ok(stamped)),
    }
}

/// The answer to a claim of an address that a transaction holds, and has not decided: nothing was changed, and nothing can
/// be seen yet.
fn held_by_a_transaction(kind: Kind) -> Stamped<ClaimReply> {
    let state = match kind {
        Kind::Execution => State::Executing,
        Kind::Lease => State::Claimed,
    };
    let stamp = Stamp::unseen(StoreTime::ZERO);
    Stamped { reply: ClaimReply::InProgress { state, remaining: Duration::ZERO }, stamp }
}
