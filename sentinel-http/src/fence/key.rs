//! The keys of fences.

use std::sync::Arc;

use sentinel_client::sentinel_core::Invalid;

use crate::signature::SecretBytes;

/// A key that the sender and the receiver of fences share, and the id by which the receiver finds it. Several keys are
/// valid at once, so that one can be replaced by another without an interruption. Its `Debug` output does not show the
/// secret.
#[derive(Debug, Clone)]
pub struct FenceKey {
    id: Arc<str>,
    pub(super) secret: SecretBytes,
}

impl FenceKey {
    /// The longest id, in bytes.
    pub const MAX_ID_BYTES: usize = 64;
    /// The shortest secret, in bytes.
    pub const MIN_SECRET_BYTES: usize = 32;

    /// A key. The id is 1 to 64 bytes of visible ASCII and is sent with each fence; the secret has at least 32 bytes.
    /// Returns an error otherwise.
    pub fn new(id: impl AsRef<str>, secret: impl AsRef<[u8]>) -> Result<Self, Invalid> {
        let (id, secret) = (id.as_ref(), SecretBytes::new(secret));
        if id.is_empty() || id.len() > Self::MAX_ID_BYTES || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Invalid::new(
                "id of a fence key",
                format!("must be 1 to 64 visible ASCII, is {id:?}"),
            ));
        }
        if secret.len() < Self::MIN_SECRET_BYTES {
            let why = format!("must be at least {} bytes, is {}", Self::MIN_SECRET_BYTES, secret.len());
            return Err(Invalid::new("secret of a fence key", why));
        }
        Ok(Self { id: id.into(), secret })
    }

    /// The id.
    pub fn id(&self) -> &str {
        &self.id
    }
}
