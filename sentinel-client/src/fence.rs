//! The values that a write presents to a fence.

use sentinel_core::{Address, Token};

/// Both columns of a fenced write: the token, and the address within which tokens are ordered. They belong together: a
/// lease's token beside the address of an execution proves nothing about that execution.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FenceValues {
    /// The fencing token, as SQL has it (`bigint`).
    pub token: i64,
    /// The address for which it was granted: `namespace/kind/key`. Only a key may contain a slash, so the text is
    /// unambiguous.
    pub address: String,
}

impl FenceValues {
    pub(super) fn new(address: &Address, token: Token) -> Self {
        let address = format!("{}/{}/{}", address.namespace, address.kind, address.key);
        // No token is above 2^53-1.
        Self { token: i64::try_from(token.get()).unwrap_or(i64::MAX), address }
    }
}
