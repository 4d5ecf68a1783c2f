//! Opening the store, as each process does.

use std::path::Path;
use std::sync::Arc;

use sentinel::Deployment;
use sentinel::store::{CoordinationStore, ErrorKind, StoreError};

/// Opens the store of a URL. On Redis with a witness folder, which all processes of a schedule share: processes
/// are killed and replaced, and a later one has to detect the loss of what was acknowledged to an earlier one.
pub(crate) async fn open(url: &str, witness_folder: &Path) -> Result<Arc<dyn CoordinationStore>, StoreError> {
    let malformed =
        |error: sentinel::Error| StoreError::not_applied(ErrorKind::InvalidRequest, error.to_string());
    let deployment = Deployment::parse(url).map_err(malformed)?.witness_folder(witness_folder);
    Ok(deployment.open().await?)
}
