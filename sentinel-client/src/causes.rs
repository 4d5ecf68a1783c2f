//! The cause of a call: its own, or the one that it inherits from the run in which it is made.

use sentinel_core::{Address, By, Cause, Token};

tokio::task_local! {
    /// What the calls of the run that this task executes inherit.
    static INHERITED: Option<Cause>;
}

/// Runs a future whose calls inherit this cause. For the client, and for runtimes that run a function under a claim.
///
/// Only what the future polls itself inherits it: a task that it spawns is another task, and calls made there need
/// [`Run::child_cause`](crate::Run::child_cause).
#[doc(hidden)]
pub async fn with_inherited_cause<F: Future>(cause: Option<Cause>, future: F) -> F::Output {
    INHERITED.scope(cause, future).await
}

/// The cause that a call made here inherits.
pub(crate) fn inherited() -> Option<Cause> {
    INHERITED.try_with(Clone::clone).ok().flatten()
}

/// The cause that the calls of a run inherit; None: the run has none, or is the last that may cause another.
///
/// A cause decides nothing, so a call past the last hop is made without one instead of being refused.
#[doc(hidden)]
pub fn inherited_from(cause: Option<&Cause>, address: &Address, token: Token) -> Option<Cause> {
    let child = cause?.child(By { address: address.clone(), token });
    let warn =
        |error: &_| tracing::warn!(%address, %error, "the calls of this run are claimed without a cause");
    child.inspect_err(warn).ok()
}
