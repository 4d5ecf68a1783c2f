//! Opening the store, as each process does.

use std::path::Path;
use std::sync::Arc;

use sentinel::redis::RedisStore;
use sentinel::{CoordinationStore, StoreError};

/// Opens the store of a URL. On Redis with a witness folder, which all processes of a schedule share: processes
/// are killed and replaced, and a later one has to detect the loss of what was acknowledged to an earlier one.
pub(crate) async fn open(url: &str, witness_folder: &Path) -> Result<Arc<dyn CoordinationStore>, StoreError> {
    match url.starts_with("redis") {
        true => Ok(Arc::new(RedisStore::builder(url).witness_folder(witness_folder).open().await?)),
        false => sentinel::connect(url).await,
    }
}
