//! The acceptance checks of the idempotency layer (H1 and so on), each on every store, with axum and with tower alone.

#![allow(clippy::unwrap_used)]

mod attacks;
mod callers;
mod counted;
mod crashes;
mod doubt;
#[cfg(feature = "axum")]
mod extractors;
mod harness;
mod in_flight;
mod processes;
mod refusals;
mod replay;
mod responses;
mod scopes;
mod status;
mod transactions;
mod truth;
