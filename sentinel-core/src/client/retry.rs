//! Lost replies: the same request again, under the same ids, until it is answered (SPEC section 6).

use std::time::Duration;

use tokio::runtime::Handle;

use super::Core;
use super::clock::LocalTime;
use super::observe::Named;
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
        operation: &'static str,
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
        let first = clock.now();
        let mut pause = FIRST_PAUSE;
        let mut ambiguous = false;
        loop {
            let sent = clock.now();
            // A guard may be dropped outside of any runtime: then there is no time to measure and no second attempt.
            let timed = Handle::try_current().is_ok();
            let answer = match timed {
                true => tokio::time::timeout(REPLY_WITHIN, send()).await,
                false => Ok(send().await),
            };
            let error = match answer {
                Ok(Ok(stamped)) => {
                    self.answered(operation, address, &stamped, clock.now().since(sent));
                    return Ok(Settled { stamped, sent });
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    StoreError::ambiguous(Trouble::LostReply, format!("no reply within {REPLY_WITHIN:?}"))
                }
            };
            self.unanswered(operation, address, &error);
            ambiguous |= error.applied() == Applied::Ambiguous;
            let again = match persist {
                Persist::Ambiguous => ambiguous && error.is_worth_repeating(),
                Persist::Always => error.is_worth_repeating(),
            };
            if !again || !timed || clock.now().since(first) >= patience {
                return Err(if ambiguous { error.made_ambiguous() } else { error });
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }
}

/// Between half and all of a duration, so that those who fail together do not return together.
pub(crate) fn jittered(duration: Duration) -> Duration {
    use rand::RngExt as _;
    duration.mul_f64(rand::rng().random_range(0.5..=1.0))
}
