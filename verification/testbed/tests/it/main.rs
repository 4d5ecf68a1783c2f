//! Starts real servers and does to them what the stores' tests will do.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod guard;
mod pgbouncer;
mod postgres;
mod proxy;
mod redis;
mod standby;
