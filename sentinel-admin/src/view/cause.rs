//! A cause as JSON. The field names are part of the program's contract.

use sentinel_core::{By, Cause};
use serde::Serialize;

/// Why a claim was made.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are the cause's")]
pub struct CauseView {
    pub root: String,
    /// The run that caused the claim; null: the claim follows from the root itself.
    pub by: Option<ByView>,
    pub trace: Option<String>,
    pub hop: u8,
}

/// A run that caused a claim.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are those of an address and a token")]
pub struct ByView {
    pub namespace: String,
    pub kind: &'static str,
    pub key: String,
    pub token: u64,
}

impl From<&Cause> for CauseView {
    fn from(cause: &Cause) -> Self {
        Self {
            root: cause.root().to_string(),
            by: cause.by().map(ByView::from),
            trace: cause.trace().map(|trace| trace.to_string()),
            hop: cause.hop(),
        }
    }
}

impl From<&By> for ByView {
    fn from(By { address, token }: &By) -> Self {
        Self {
            namespace: address.namespace.to_string(),
            kind: address.kind.as_str(),
            key: address.key.to_string(),
            token: token.get(),
        }
    }
}
