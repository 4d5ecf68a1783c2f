//! Counters and gauges that are not about a single request.

use std::time::Duration;

use metrics::{counter, gauge};

/// Counts heartbeats that were not answered, or for which the store did not read the record.
pub(crate) fn heartbeat_failed(beats: usize) {
    counter!("sentinel_heartbeat_failures_total").increment(beats as u64);
}

/// Counts an execution that lost contact: its lease ended without an answered heartbeat. Its function continues.
pub(crate) fn contact_lost() {
    counter!("sentinel_contacts_lost_total").increment(1);
}

/// Counts a worker that lost its authority.
pub(crate) fn lapsed(why: &'static str) {
    counter!("sentinel_lapses_total", "why" => why).increment(1);
}

/// How long the oldest uncertain key of a namespace has been in doubt; zero if none is.
pub(crate) fn oldest_uncertain(namespace: &str, age: Duration) {
    gauge!("sentinel_oldest_uncertain_seconds", "namespace" => namespace.to_owned()).set(age);
}
