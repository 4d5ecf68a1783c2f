//! Getting at the store, as each process does.

use std::path::Path;
use std::sync::Arc;

use sentinel::redis::RedisStore;
use sentinel::{CoordinationStore, StoreError};

/// Opens the store of a URL. On Redis with a folder of notes, which all processes of a schedule share: they come and go, and what one
/// of them was told, the next has to miss.
pub(crate) async fn open(url: &str, notes: &Path) -> Result<Arc<dyn CoordinationStore>, StoreError> {
    match url.starts_with("redis") {
        true => Ok(Arc::new(RedisStore::builder(url).witness_folder(notes).open().await?)),
        false => sentinel::connect(url).await,
    }
}
