//! Looks at the deployment.

use sentinel_core::StoreError;
use sentinel_core::store::Health;

use crate::call::Caller;

pub(crate) async fn probe(caller: &Caller) -> Result<Health, StoreError> {
    let _ = caller.port.link().await?;
    Ok(Health { deployment: String::new(), checks: Vec::new(), guarantees: Vec::new(), accepted: true })
}
