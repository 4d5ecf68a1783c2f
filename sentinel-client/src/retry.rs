//! Lost replies: sends the same request again, with the same ids, until it is answered (spec §6).

use std::future::{Ready, poll_fn, ready};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::Either;
use sentinel_core::operation::Stamped;
use sentinel_core::{Address, Applied, ErrorKind, StoreError};
use tokio::runtime::Handle;

use super::clock::LocalTime;
use super::jitter::jittered;
use super::open_work::WorkGuard;
use super::shared::Core;
use super::signals::answers::Named;
use super::signals::meters::Took;

/// After which errors the same request is sent again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RetryPolicy<'a> {
    /// Only after ambiguous errors. If it is proven that nothing was changed, the caller decides.
    Ambiguous,
    /// Like `Ambiguous`, and for this long also after errors that prove that nothing was changed, if the store may be
    /// back soon. For a caller that waits for its turn.
    Waiting(Duration),
    /// After all errors that can pass: what has happened must be reported to the store. The open work records the last
    /// error.
    Report(&'a WorkGuard),
}

impl RetryPolicy<'_> {
    /// Whether a request that has been repeated for `passed` is sent once more.
    fn again(self, error: &StoreError, ambiguous: bool, passed: Duration, retry_timeout: Duration) -> bool {
        let lost_reply = ambiguous && error.is_worth_repeating() && passed < retry_timeout;
        match self {
            Self::Ambiguous => lost_reply,
            Self::Waiting(wait) => lost_reply || (error.is_worth_waiting_for() && passed < wait),
            Self::Report(work) => {
                work.failed(error);
                error.can_pass() && passed < retry_timeout
            }
        }
    }
}

/// A reply, and when its request was sent.
pub(crate) struct Answered<R> {
    pub(crate) stamped: Stamped<R>,
    pub(crate) sent: LocalTime,
}

/// The longest wait for the reply to one attempt.
const REPLY_WITHIN: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Core {
    /// Sends a request until it is answered or `retry_timeout` is over. If any attempt was ambiguous, the error is
    /// ambiguous: proof that another attempt changed nothing proves nothing about that one.
    ///
    /// If the store answers at the first poll, no timer and no state for retries is allocated.
    pub(crate) async fn send_until_answered<R, F, Fut>(
        &self,
        address: &Address,
        policy: RetryPolicy<'_>,
        retry_timeout: Duration,
        mut send: F,
    ) -> Result<Answered<R>, StoreError>
    where
        R: Named,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Stamped<R>, StoreError>> + Unpin,
    {
        let clock = self.keeper.clock();
        let sent = clock.now();
        let mut attempt = send();
        match poll_fn(|cx| Poll::Ready(attempt.poll_unpin(cx))).await {
            Poll::Ready(Ok(stamped)) => {
                self.answered(address, &stamped, Took { clock, sent });
                Ok(Answered { stamped, sent })
            }
            Poll::Ready(Err(error)) => {
                let first = ready(Err(error)).left_future();
                Box::pin(self.repeat_until_answered(address, policy, retry_timeout, sent, first, send)).await
            }
            Poll::Pending => {
                Box::pin(self.repeat_until_answered(
                    address,
                    policy,
                    retry_timeout,
                    sent,
                    attempt.right_future(),
                    send,
                ))
                .await
            }
        }
    }

    /// Waits for the first attempt, which was already sent, and then retries.
    async fn repeat_until_answered<R, F, Fut>(
        &self,
        address: &Address,
        policy: RetryPolicy<'_>,
        retry_timeout: Duration,
        first: LocalTime,
        mut attempt: Either<Ready<Fut::Output>, Fut>,
        mut send: F,
    ) -> Result<Answered<R>, StoreError>
    where
        R: Named,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Stamped<R>, StoreError>> + Unpin,
    {
        let clock = self.keeper.clock();
        let mut sent = first;
        let mut pause = FIRST_PAUSE;
        let mut ambiguous = false;
        loop {
            let error = match in_time(attempt).await {
                Ok(stamped) => {
                    self.answered(address, &stamped, Took { clock, sent });
                    return Ok(Answered { stamped, sent });
                }
                Err(error) => error,
            };
            self.unanswered::<R>(address, &error);
            ambiguous |= error.applied() == Applied::Ambiguous;
            let passed = clock.now().since(first);
            if !has_time() || !policy.again(&error, ambiguous, passed, retry_timeout) {
                return Err(if ambiguous { error.made_ambiguous() } else { error });
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = LONGEST_PAUSE.min(pause * 2);
            sent = clock.now();
            attempt = send().right_future();
        }
    }
}

/// Whether there is a runtime. A guard may be dropped outside of any runtime; then there is no timeout and no second
/// attempt.
fn has_time() -> bool {
    Handle::try_current().is_ok()
}

/// Sends one attempt, with a timeout if there is a runtime.
async fn in_time<R>(attempt: impl Future<Output = Result<R, StoreError>>) -> Result<R, StoreError> {
    if !has_time() {
        return attempt.await;
    }
    tokio::time::timeout(REPLY_WITHIN, attempt).await.unwrap_or_else(|_| {
        Err(StoreError::ambiguous(ErrorKind::LostReply, format!("no reply within {REPLY_WITHIN:?}")))
    })
}
