//! Lost replies: the same request again, under the same ids, until it is answered (SPEC section 6).

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::unconstrained;

use super::Core;
use super::clock::LocalTime;
use super::observe::{Named, Took};
use crate::address::Address;
use crate::error::{Applied, StoreError, Trouble};
use crate::operation::Stamped;

/// Which failures are worth sending the same request again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persist {
    /// Only those that may have been carried out: if it is proven that nothing was, the caller decides.
    Ambiguous,
    /// Also an unreachable or busy store: the truth must be told to it.
    Always,
}

/// A reply, and when the request that got it was sent.
pub(crate) struct Settled<R> {
    pub(crate) stamped: Stamped<R>,
    pub(crate) sent: LocalTime,
}

/// One attempt waits this long for its reply at most.
const REPLY_WITHIN: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl Core {
    /// Sends a request until it is answered or `patience` is over. Once one attempt may have been carried out, the error
    /// is ambiguous for good: a later proof about another attempt proves nothing about that one.
    pub(crate) async fn settle<R, F, Fut>(
        &self,
        address: &Address,
        persist: Persist,
        patience: Duration,
        mut send: F,
    ) -> Result<Settled<R>, StoreError>
    where
        R: Named,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<Stamped<R>, StoreError>>,
    {
        let clock = self.keeper.clock();
        let mut sent = clock.now();
        let first = sent;
        let mut pause = FIRST_PAUSE;
        let mut ambiguous = false;
        loop {
            let error = match in_time(send()).await {
                Ok(stamped) => {
                    self.answered(address, &stamped, Took { clock, sent });
                    return Ok(Settled { stamped, sent });
                }
                Err(error) => error,
            };
            self.unanswered::<R>(address, &error);
            ambiguous |= error.applied() == Applied::Ambiguous;
            let again = match persist {
                Persist::Ambiguous => ambiguous && error.is_worth_repeating(),
                Persist::Always => error.is_worth_repeating(),
            };
            if !again || !has_time() || clock.now().since(first) >= patience {
                return Err(if ambiguous { error.made_ambiguous() } else { error });
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = LONGEST_PAUSE.min(pause * 2);
            sent = clock.now();
        }
    }
}

/// A guard may be dropped outside of any runtime: then there is no time to measure and no second attempt.
fn has_time() -> bool {
    Handle::try_current().is_ok()
}

/// One attempt. A timer is set once the store lets us wait: one that answers at once costs none.
async fn in_time<R>(send: impl Future<Output = Result<R, StoreError>>) -> Result<R, StoreError> {
    let mut send = pin!(send);
    let mut timer = pin!(None);
    poll_fn(|cx| {
        if let Poll::Ready(answer) = send.as_mut().poll(cx) {
            return Poll::Ready(answer);
        }
        if timer.is_none() && has_time() {
            timer.set(Some(unconstrained(tokio::time::sleep(REPLY_WITHIN))));
        }
        match timer.as_mut().as_pin_mut().map(|timer| timer.poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Err(StoreError::ambiguous(
                Trouble::LostReply,
                format!("no reply within {REPLY_WITHIN:?}"),
            ))),
            Some(Poll::Pending) | None => Poll::Pending,
        }
    })
    .await
}

/// Between half and all of a duration, so that those who fail together do not return together.
pub(crate) fn jittered(duration: Duration) -> Duration {
    use rand::RngExt as _;
    duration.mul_f64(rand::rng().random_range(0.5..=1.0))
}
