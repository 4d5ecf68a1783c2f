//! What the tests of faults have in common.

use std::time::Duration;

use sentinel_core::ErrorKind;
use sentinel_redis::RedisStore;

pub(crate) use sentinel_store_tests::fixtures::*;

/// Opens the store as a new process would, and checks that it is refused with this error.
pub(crate) async fn new_client_is_refused_with(url: &str, error_kind: ErrorKind) {
    is_not_applied(RedisStore::connect(url).await, error_kind);
}

/// Advances the clock without waiting, so that the deployment is checked again.
pub(crate) async fn a_while_later() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(6)).await;
    tokio::time::resume();
}
