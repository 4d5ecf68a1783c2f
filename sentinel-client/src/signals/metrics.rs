//! The table of all metrics.

use super::answers::{OPERATIONS, OUTCOMES};

/// A metric: one row of [`METRICS`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it counts or shows.
    pub kind: MetricKind,
    /// The unit of its values.
    pub unit: MetricUnit,
    /// Its labels. Not listed: `job`, `instance` and `le`, which Prometheus adds.
    pub labels: &'static [MetricLabel],
    /// What it shows, in one sentence.
    pub help: &'static str,
    /// The release that introduced it.
    pub since: &'static str,
    /// Of a histogram: the upper bounds to configure in the recorder, in its unit.
    pub buckets: &'static [f64],
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows while a process lives.
    Counter,
    /// The newest value counts.
    Gauge,
    /// How often values fell into each of several ranges.
    Histogram,
}

/// The unit of a metric's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricUnit {
    /// A number of occurrences: the name ends in `_total`.
    Occurrences,
    /// Seconds, or seconds since 1970 (UTC): the name ends in `_seconds`.
    Seconds,
    /// A number of keys: the name ends in `_keys`.
    Keys,
    /// Bytes: the name ends in `_bytes`.
    Bytes,
    /// What there is now of the things that the name counts.
    Number,
    /// 0 or 1.
    Flag,
}

/// A label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetricLabel {
    /// Its name.
    pub name: &'static str,
    /// All its values; empty: a deployment decides about them.
    pub values: &'static [&'static str],
}

impl MetricKind {
    /// The word that Prometheus uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Metric {
    const fn new(name: &'static str, kind: MetricKind, unit: MetricUnit, help: &'static str) -> Self {
        Self { name, kind, unit, labels: &[], help, since: "0.1", buckets: &[] }
    }

    const fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, MetricKind::Counter, MetricUnit::Occurrences, help)
    }

    const fn seconds(name: &'static str, kind: MetricKind, help: &'static str) -> Self {
        Self::new(name, kind, MetricUnit::Seconds, help)
    }

    const fn by(mut self, labels: &'static [MetricLabel]) -> Self {
        self.labels = labels;
        self
    }

    const fn within(mut self, buckets: &'static [f64]) -> Self {
        self.buckets = buckets;
        self
    }

    /// The row of [`METRICS`] with this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        METRICS.iter().find(|metric| metric.name == name)
    }

    /// Passes the help of every metric to the recorder of this thread.
    pub(super) fn describe_all() {
        for metric in METRICS {
            let unit = match metric.unit {
                MetricUnit::Seconds => metrics::Unit::Seconds,
                MetricUnit::Bytes => metrics::Unit::Bytes,
                MetricUnit::Occurrences | MetricUnit::Keys | MetricUnit::Number | MetricUnit::Flag => {
                    metrics::Unit::Count
                }
            };
            match metric.kind {
                MetricKind::Counter => metrics::describe_counter!(metric.name, unit, metric.help),
                MetricKind::Gauge => metrics::describe_gauge!(metric.name, unit, metric.help),
                MetricKind::Histogram => metrics::describe_histogram!(metric.name, unit, metric.help),
            }
        }
    }
}

const fn any(name: &'static str) -> MetricLabel {
    MetricLabel { name, values: &[] }
}

const fn of(name: &'static str, values: &'static [&'static str]) -> MetricLabel {
    MetricLabel { name, values }
}

pub(super) mod name {
    pub(in super::super) const TRANSITIONS: &str = "sentinel_transitions_total";
    pub(in super::super) const OPERATION_SECONDS: &str = "sentinel_operation_seconds";
    pub(in super::super) const STORE_ERRORS: &str = "sentinel_store_errors_total";
    pub(in super::super) const OUTCOMES: &str = "sentinel_outcomes_total";
    pub(in super::super) const RUN_SECONDS: &str = "sentinel_run_seconds";
    pub(in super::super) const WAIT_SECONDS: &str = "sentinel_wait_seconds";
    pub(in super::super) const HEARTBEAT_FAILURES: &str = "sentinel_heartbeat_failures_total";
    pub(in super::super) const CONTACT_LOST: &str = "sentinel_contact_lost_total";
    pub(in super::super) const LAPSES: &str = "sentinel_lapses_total";
    pub(in super::super) const OLDEST_UNCERTAIN: &str = "sentinel_oldest_uncertain_seconds";
    pub(in super::super) const OLDEST_RECONCILING: &str = "sentinel_oldest_reconciling_seconds";
    pub(in super::super) const UNCERTAIN_KEYS: &str = "sentinel_uncertain_keys";
    pub(in super::super) const RECONCILING_KEYS: &str = "sentinel_reconciling_keys";
    pub(in super::super) const STORE_TRUSTED: &str = "sentinel_store_trusted";
    pub(in super::super) const LAST_SURVEY: &str = "sentinel_survey_last_success_timestamp_seconds";
    pub(in super::super) const SURVEY_SECONDS: &str = "sentinel_survey_seconds";
    pub(in super::super) const SETTLEMENTS: &str = "sentinel_settlements_total";
    pub(in super::super) const TIME_UNCERTAIN: &str = "sentinel_time_uncertain_seconds";
}

const STORE: MetricLabel = any("store");
const NAMESPACE: MetricLabel = any("namespace");
const OPERATION: MetricLabel = of("operation", &OPERATIONS);
/// The replies of an operation are listed by `answers`.
const REPLY: MetricLabel = any("reply");
const OUTCOME: MetricLabel = of("outcome", OUTCOMES);
const BY: MetricLabel = of("by", BY_VALUES);
const VERDICT: MetricLabel = of("verdict", VERDICTS);

pub(super) const ENDED: &[&str] = &["result", "uncertain", "gave_up"];
pub(super) const KINDS: &[&str] = &["execution", "lease"];
pub(super) const WHY: &[&str] = &["superseded", "decided", "hard_deadline", "heartbeat_timeout", "abandoned"];
pub(super) const BY_VALUES: &[&str] = &["operator", "code"];
pub(super) const VERDICTS: &[&str] = &["happened", "failed", "did_not_happen"];

/// As the package `sentinel-coordination-http` counts them.
const HTTP_ANSWERS: &[&str] =
    &["fresh", "replayed", "in_progress", "uncertain", "key_reused", "not_run", "busy", "not_stored"];

const REQUEST_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
const RUN_BUCKETS: &[f64] =
    &[0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];
const DOUBT_BUCKETS: &[f64] = &[1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0, 604_800.0];

use MetricKind::{Gauge, Histogram};

/// All metrics of this version.
pub const METRICS: &[Metric] = &[
    Metric::counter(name::TRANSITIONS, "Requests that the store answered, by reply.").by(&[
        STORE, NAMESPACE, OPERATION, REPLY,
    ]),
    Metric::seconds(name::OPERATION_SECONDS, Histogram, "How long the store took to answer a request.")
        .by(&[STORE, NAMESPACE, OPERATION])
        .within(REQUEST_BUCKETS),
    Metric::counter(name::STORE_ERRORS, "Attempts to send a request that the store did not answer.")
        .by(&[STORE, NAMESPACE, OPERATION]),
    Metric::counter(
        name::OUTCOMES,
        "Calls of `once` that ended, by outcome, also if their caller has gone. Investigate each `ran_uncertain`, \
         `unconfirmed` and `superseded`.",
    )
    .by(&[STORE, NAMESPACE, OUTCOME]),
    Metric::seconds(
        name::RUN_SECONDS,
        Histogram,
        "The time from the claim of a call that was granted its key to its outcome.",
    )
    .by(&[STORE, NAMESPACE, OUTCOME])
    .within(RUN_BUCKETS),
    Metric::seconds(
        name::WAIT_SECONDS,
        Histogram,
        "How long a caller waited for another run or lease, by how the wait ended: with a recorded result or a grant, \
         because the outcome is uncertain, or without an answer.",
    )
    .by(&[of("ended", ENDED)])
    .within(RUN_BUCKETS),
    Metric::counter(
        name::HEARTBEAT_FAILURES,
        "Heartbeats without an answer. If they go on failing, runs lose contact next.",
    ),
    Metric::counter(
        name::CONTACT_LOST,
        "Runs and leases that no heartbeat kept alive until the end of their ttl. The function of an execution goes \
         on; other callers see its key as uncertain.",
    )
    .by(&[of("kind", KINDS)]),
    Metric::counter(name::LAPSES, "Runs and leases that lost their authority, by the cause.")
        .by(&[of("why", WHY)]),
    Metric::seconds(
        name::OLDEST_UNCERTAIN,
        Gauge,
        "How long the key that has been uncertain longest has been so; 0: no key is uncertain.",
    )
    .by(&[STORE, NAMESPACE]),
    Metric::seconds(
        name::OLDEST_RECONCILING,
        Gauge,
        "How long ago an operator took the key that has been taken longest and is not decided; 0: there is none.",
    )
    .by(&[STORE, NAMESPACE]),
    Metric::new(
        name::UNCERTAIN_KEYS,
        Gauge,
        MetricUnit::Keys,
        "Keys that are uncertain. A survey reads at most 10,000 keys that are uncertain or taken.",
    )
    .by(&[STORE, NAMESPACE]),
    Metric::new(
        name::RECONCILING_KEYS,
        Gauge,
        MetricUnit::Keys,
        "Keys that an operator has taken and not decided; limited like the uncertain ones.",
    )
    .by(&[STORE, NAMESPACE]),
    Metric::new(
        name::STORE_TRUSTED,
        Gauge,
        MetricUnit::Flag,
        "1: no loss of data is known. 0: the store has lost data or may have, or stored data cannot be read.",
    )
    .by(&[STORE]),
    Metric::seconds(
        name::LAST_SURVEY,
        Gauge,
        "When the gauges of the survey were last read from the store, in seconds since 1970. They are out of date if \
         this is.",
    )
    .by(&[STORE]),
    Metric::seconds(name::SURVEY_SECONDS, Histogram, "How long a survey took.")
        .by(&[STORE])
        .within(REQUEST_BUCKETS),
    Metric::counter(
        name::SETTLEMENTS,
        "Decisions about uncertain keys that this process made, by people or by code.",
    )
    .by(&[BY, VERDICT]),
    Metric::seconds(
        name::TIME_UNCERTAIN,
        Histogram,
        "How long a key had been in doubt when this process decided about it.",
    )
    .by(&[BY, VERDICT])
    .within(DOUBT_BUCKETS),
    Metric::counter("sentinel_http_idempotency_total", "Requests with an idempotency key, by how they were answered.")
        .by(&[any("route"), of("answer", HTTP_ANSWERS)]),
    Metric::new(
        "sentinel_http_detached_runs",
        Gauge,
        MetricUnit::Number,
        "Handlers that run although their caller has gone.",
    ),
    Metric::new(
        "sentinel_http_waiting",
        Gauge,
        MetricUnit::Number,
        "Requests that wait for another request with the same key.",
    ),
    Metric::new(
        "sentinel_http_buffered_bytes",
        Gauge,
        MetricUnit::Bytes,
        "Bytes of bodies that the layer keeps in memory.",
    ),
];
