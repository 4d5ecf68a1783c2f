//! `wait`: waits for the run of another call, and claims nothing.

use std::fmt;
use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sentinel_core::{Address, Invalid, Key, StoreError};

use super::outcome::Error;
use super::sentinel::Sentinel;
use super::waited::Waited;

impl Sentinel {
    /// A request to wait for the run of another call of `once`, without a claim. See [`Wait`].
    pub fn wait(&self, key: impl AsRef<str>) -> Wait {
        let at_most = self.policy.as_ref().and_then(|policy| policy.wait).unwrap_or_default();
        Wait { sentinel: self.clone(), key: Key::new(key), at_most }
    }
}

/// A request to wait for the run of another call. Nothing is sent before it is awaited.
///
/// ```
/// # mod sentinel { pub mod wait { pub use sentinel_client::Waited; } pub use sentinel_client::*; }
/// use std::time::Duration;
///
/// use sentinel::wait::Waited;
///
/// # async fn status(sentinel: sentinel::Sentinel) -> Result<(), sentinel::Error> {
/// match sentinel.wait("invoice-42").at_most(Duration::from_secs(10)).await? {
///     Waited::Completed(execution) => println!("{:?}", execution.result.verdict),
///     Waited::InProgress(run) => println!("still running; its lease lasts {:?}", run.remaining),
///     Waited::Uncertain(_) | Waited::Reconciling(_) => println!("we are checking your payment"),
///     Waited::Absent => println!("no call with this key has run"),
/// }
/// # Ok(())
/// # }
/// ```
///
/// **Effect:** none: a key without a run stays claimable by any call. **Returns** when the run has ended or its outcome
/// is unknown, when there is no run to wait for, or when the time is over. A fingerprint is not compared; the result
/// has the one of its request. If the client drains, the wait ends with what was read last. **Cost:** all callers of
/// this process that wait for one key share one watcher, which polls the store or is notified by it; they also share
/// the reads that follow. A result is read twice: `inspect` alone could return a result that a failover can still undo.
/// **Repeating it** reads again. **Dropping it** ends the wait. **Errors:** an invalid key; the store could not answer.
/// While there is time left, a store that may be back soon is read again.
#[must_use = "nothing is sent before it is awaited"]
pub struct Wait {
    sentinel: Sentinel,
    key: Result<Key, Invalid>,
    at_most: Duration,
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("key", &self.key).field("at_most", &self.at_most).finish_non_exhaustive()
    }
}

impl Wait {
    /// How long to wait. Defaults to the `wait` of the client's [`Policy`](crate::Policy), and without that to zero:
    /// the state is read once.
    pub fn at_most(mut self, at_most: Duration) -> Self {
        self.at_most = at_most;
        self
    }

    async fn run(self) -> Result<Waited, Error> {
        let Sentinel { core, namespace, worker, retry_timeout, .. } = self.sentinel;
        let address = Address::execution(namespace, self.key?);
        let clock = core.keeper.clock();
        let until = clock.now().plus(self.at_most);
        let draining = core.open_work.draining().clone();
        let mut watch = core.watchers.has_queue(&address).then(|| core.watch(&address));
        let mut found = match &mut watch {
            Some(watch) => watch.read(&worker, retry_timeout).await,
            None => core.snapshot(&address, &worker, retry_timeout).await,
        };
        loop {
            let left = until.since(clock.now());
            if !is_worth_waiting_for(&found) || left.is_zero() {
                return Ok(found?);
            }
            let next = async {
                let watch = match &mut watch {
                    Some(watch) => {
                        watch.changed_or_moved().await;
                        watch
                    }
                    // What happened before the watcher began is in the first read after that.
                    none => none.insert(core.watch(&address)),
                };
                watch.read(&worker, retry_timeout).await
            };
            tokio::select! {
                biased;
                () = draining.cancelled() => return Ok(found?),
                next = tokio::time::timeout(left, next) => match next {
                    Ok(read) => found = read,
                    Err(_) => return Ok(found?),
                },
            }
        }
    }
}

fn is_worth_waiting_for(found: &Result<Waited, StoreError>) -> bool {
    match found {
        Ok(waited) => matches!(waited, Waited::InProgress(_)),
        Err(error) => error.is_worth_waiting_for(),
    }
}

impl IntoFuture for Wait {
    type Output = Result<Waited, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
