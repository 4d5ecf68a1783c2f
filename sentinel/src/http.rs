//! Sentinel over HTTP: [`IdempotencyLayer`] runs the handler of a request with an `Idempotency-Key` at most once per
//! key, and replays its response. [docs/http.md] explains it.
//!
//! [docs/http.md]: https://github.com/sentinel-rs/sentinel/blob/main/docs/http.md

pub use sentinel_http::*;
