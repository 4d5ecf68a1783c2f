//! The named laws: one for each sentence of SPEC sections 2, 3 and 5 and of the contract of
//! [`CoordinationStore`](sentinel_core::CoordinationStore).
#![warn(clippy::missing_docs_in_private_items)]

pub(crate) mod claims;
