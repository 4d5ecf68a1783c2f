//! Metrics, spans and log events: what they are called, and what they mean.
//!
//! [`METRICS`] and [`EVENTS`] list all of them. The descriptions that a recorder gets, the table in docs/operations.md,
//! the dashboard and the alert rules are made from these tables, or tested against them.

pub(crate) mod answers;
pub(crate) mod events;
mod export;
pub(crate) mod meters;
mod metrics;
mod survey;

#[doc(hidden)]
pub use events::report_result_not_stored;
pub use events::{EVENTS, EVENTS_TARGET, LogEvent};
pub use export::{SurveyExporter, SurveyExporterHandle, export};
pub use metrics::{METRICS, Metric, MetricKind, MetricLabel, MetricUnit};
pub use survey::{MAX_NAMESPACES, NamespaceSurvey, OTHER_NAMESPACES, SurveyReport, survey};
