//! What a running function of `once` does in a transaction of its own.

use sentinel_client::Run;
use sentinel_core::operation::CompleteReply;
use sentinel_core::{RecordedResult, StoreError};
use sqlx::{Postgres, Transaction};

use super::extension::Sealed;
use super::store_of::store_of;

/// Completes a run in a transaction of yours, in the database of the store: what you wrote and the result commit
/// together. The run knows its store; another one than PostgreSQL is an error before anything is sent.
pub trait RunExt: Sealed + Sync {
    /// Completes the run. As [`PostgresExt::complete_in`](super::PostgresExt::complete_in), without the client.
    fn complete_in(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        result: &RecordedResult,
    ) -> impl Future<Output = Result<CompleteReply, StoreError>> + Send;

    /// Completes the run with an HTTP response, for a handler behind the idempotency layer: effect, record and answer
    /// become true at one commit. Return the response from the handler after the commit. If the commit fails and
    /// [proves](super::CommitError::nothing_was_applied) that nothing was applied, answer with
    /// [`NothingHappened`](sentinel_http::NothingHappened); the layer finds out about every other end by itself.
    ///
    /// **Effect:** as [`complete_in`](Self::complete_in). **Errors:** the response is not recorded; roll the
    /// transaction back, and return the error's response.
    #[cfg(feature = "http")]
    fn record_in<B>(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        response: http::Response<B>,
    ) -> impl Future<Output = Result<http::Response<sentinel_http::Body>, RecordInError>> + Send
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<sentinel_http::BoxError>;
}

impl Sealed for Run {}

impl RunExt for Run {
    async fn complete_in(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        result: &RecordedResult,
    ) -> Result<CompleteReply, StoreError> {
        let store = store_of(self.store())?;
        self.records_its_result();
        store.complete_grant_in(transaction, self.address(), self.grant(), result).await
    }

    #[cfg(feature = "http")]
    async fn record_in<B>(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        response: http::Response<B>,
    ) -> Result<http::Response<sentinel_http::Body>, RecordInError>
    where
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<sentinel_http::BoxError>,
    {
        let (result, response) = sentinel_http::record(self, response).await?;
        match self.complete_in(transaction, &result).await? {
            CompleteReply::Recorded { .. } => Ok(response),
            refused => Err(RecordInError::Refused(refused)),
        }
    }
}

/// Why a response is not recorded in a transaction. Roll the transaction back: what it wrote is undone then, and the
/// outcome of the run is uncertain until the layer has asked the record.
#[cfg(feature = "http")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordInError {
    /// The response cannot be recorded.
    #[error(transparent)]
    Response(#[from] sentinel_http::RecordError),
    /// The store could not answer.
    #[error("the response was not recorded; roll the transaction back: {0}")]
    Store(#[from] StoreError),
    /// The run has lost the key to a decision or to another run.
    #[error(
        "the response was not recorded, because the run no longer holds its key ({0:?}); roll the transaction back"
    )]
    Refused(CompleteReply),
}
