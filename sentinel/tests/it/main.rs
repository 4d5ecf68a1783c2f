//! The client over the in-memory store, on a clock that only the tests move.

#![allow(clippy::unwrap_used, clippy::unnecessary_literal_unwrap, reason = "a test fails by panicking")]

mod auto_reconciler;
mod causes;
mod confirm;
mod connect;
mod drain;
mod failures;
mod faults;
mod harness;
mod keeper;
mod lead;
mod lease;
mod limits;
mod observe;
mod once;
mod outage;
mod policy;
mod prepare;
mod queue;
#[cfg(feature = "sqlite")]
mod readme;
mod reconcile;
mod regressions;
mod replay_cache;
mod root;
mod signals;
#[cfg(feature = "testing")]
mod testing;
mod threads;
mod values;
mod wait;
mod without_claiming;

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use sentinel::prelude::*;
use sentinel::record::{Kind, State};
use sentinel::store::Inspection;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn sentinel() -> Sentinel {
    Sentinel::new(MemoryStore::new()).namespace("billing").unwrap()
}

pub(crate) async fn seen(sentinel: &Sentinel, key: &str) -> Inspection {
    sentinel.inspect(Kind::Execution, key).await.unwrap()
}

pub(crate) async fn state(sentinel: &Sentinel, key: &str) -> State {
    seen(sentinel, key).await.record.map_or(State::Free, |record| record.state)
}

/// Runs a function that succeeds.
pub(crate) async fn charge(sentinel: &Sentinel, key: &str) -> Outcome<String, Infallible> {
    sentinel.once(key).run(|run: Run| async move { Ok(format!("charged {}", run.key())) }).await.unwrap()
}

/// Runs a function whose outcome is unknown.
pub(crate) async fn doubt(sentinel: &Sentinel, key: &str) -> Outcome<String, Lied> {
    sentinel.once(key).run(|_| async { Err(Lied("connection reset")) }).await.unwrap()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lied(pub(crate) &'static str);

impl fmt::Display for Lied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
