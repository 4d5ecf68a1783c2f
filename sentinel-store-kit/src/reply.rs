//! How a caller waits for the reply of a task.

use std::time::Duration;

use sentinel_core::{ErrorKind, StoreError};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Where a reply is sent to. Sending fails if the caller went away; it then needs no reply.
pub type ReplyTo<T> = oneshot::Sender<Result<T, StoreError>>;

/// Where a reply arrives.
pub type PendingReply<T> = oneshot::Receiver<Result<T, StoreError>>;

/// Waits for a reply, until the limit. A task that ended without one may have sent the request; one that did not reply
/// in time may still do so. Both are ambiguous.
pub async fn reply<T>(pending: PendingReply<T>, limit: Duration) -> Result<T, StoreError> {
    match timeout(limit, pending).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(_)) => {
            let detail = "the runtime of the store's connection ended before the reply arrived";
            Err(StoreError::ambiguous(ErrorKind::LostReply, detail))
        }
        Err(_) => {
            let detail = format!("no reply arrived within {limit:?}");
            Err(StoreError::ambiguous(ErrorKind::LostReply, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use sentinel_core::Applied;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_does_not_come_is_ambiguous() {
        let limit = Duration::from_secs(3);
        let (reply_to, pending) = oneshot::channel();
        reply_to.send(Ok(7)).unwrap();
        assert_eq!(reply(pending, limit).await.unwrap(), 7);
        let (dropped, ended) = oneshot::channel::<Result<(), StoreError>>();
        drop(dropped);
        let (_kept, late) = oneshot::channel::<Result<(), StoreError>>();
        for (pending, detail) in [(ended, "runtime"), (late, "3s")] {
            let error = reply(pending, limit).await.unwrap_err();
            assert_eq!((error.applied(), error.kind()), (Applied::Ambiguous, ErrorKind::LostReply));
            assert!(error.to_string().contains(detail), "{error}");
        }
    }
}
