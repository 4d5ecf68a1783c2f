//! Fences over HTTP: a request states which run sends it and which token that run holds, and its receiver can refuse a
//! run that another one has replaced.
//!
//! The field authenticates the statement "this run holds this token". It does not authenticate the request, which needs
//! an authentication of its own. **The field alone does not fence**, either: it is checked before the write, and a
//! newer run may write in between. Write token and address into a fenced table in the same transaction (in PostgreSQL:
//! `create_fence`).

mod field;
mod key;
mod layer;
mod signer;
#[cfg(test)]
mod tests;
mod verified;
mod verifier;

pub use field::SENTINEL_FENCE;
#[cfg(feature = "fuzzing")]
pub use field::reread;
pub use key::FenceKey;
pub use layer::{FenceLayer, FenceService};
pub use signer::FenceSigner;
pub use verified::VerifiedFence;
pub use verifier::FenceVerifier;
