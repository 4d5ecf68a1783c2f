//! How a caller waits for the reply of a task.

use std::time::Duration;

use sentinel_core::{ErrorKind, StoreError};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Where a reply is sent to.
pub(crate) type ReplyTo<T> = oneshot::Sender<Result<T, StoreError>>;

/// Waits for a reply, until the limit. A task that ended without one may have sent the request; one that did not reply
/// in time may still do so.
pub(crate) async fn reply<T>(
    receiver: oneshot::Receiver<Result<T, StoreError>>,
    limit: Duration,
) -> Result<T, StoreError> {
    match timeout(limit, receiver).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(_)) => {
            let detail = "the runtime of the store's connection ended before the reply came";
            Err(StoreError::ambiguous(ErrorKind::LostReply, detail))
        }
        Err(_) => {
            let detail = format!("no reply came within {limit:?}");
            Err(StoreError::ambiguous(ErrorKind::LostReply, detail))
        }
    }
}
