//! The arguments of `metrics` and `observability`.

use clap::{Args, Subcommand};
use sentinel::record::Label;

use crate::names;

#[derive(Debug, Args)]
#[command(after_help = "\
Example, for the textfile collector of Prometheus' node exporter, from cron:
  sentinel metrics > sentinel.prom.new && mv sentinel.prom.new sentinel.prom

If the store cannot be read, nothing is printed, and the program exits with 69: the old file stays, and the alert
SentinelMetricsStale fires. A store that has lost data, or may have, is printed with sentinel_store_trusted 0.")]
pub(crate) struct Metrics {
    /// The label `store` of the metrics: the same name as in the programs that use the store [default: the kind of
    /// store, like postgres]
    #[arg(long, value_name = "NAME", value_parser = names::label)]
    pub(crate) store_name: Option<Label>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Observability {
    /// The dashboard for Grafana, as JSON to import
    #[command(after_help = "Example:\n  sentinel observability grafana > sentinel.json")]
    Grafana,
    /// The alert rules for Prometheus
    #[command(after_help = "Example:\n  sentinel observability alerts > /etc/prometheus/rules/sentinel.yml")]
    Alerts,
}
