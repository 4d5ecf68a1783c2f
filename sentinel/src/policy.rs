//! Settings that all calls of a client share, or that one call gets as a whole.

pub use sentinel_client::Policy;
