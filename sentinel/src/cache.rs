//! A store that wraps another one and keeps completed results while they are valid, so that a replay needs no request.

pub use sentinel_client::{ReplayCache, ReplayLimits};
