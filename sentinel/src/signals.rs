//! Metrics, spans and log events, and surveys of a whole store: for dashboards, alerts and people on call.
//!
//! Metrics go through the facade [`metrics`](https://docs.rs/metrics), spans and events through
//! [`tracing`](https://docs.rs/tracing). [`METRICS`] and [`EVENTS`] list all of them. Install the recorder before you
//! make the client: then all counters exist from the start, at 0, and no first increment is missed.
//!
//! ```
//! use std::time::Duration;
//!
//! use sentinel::Sentinel;
//! use sentinel::signals::export;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), sentinel::Error> {
//! let store = sentinel::connect("memory:").await?;
//! // One process for each store: how long keys have been in doubt, in any namespace.
//! let exporter = export(store.clone(), "orders", Duration::from_secs(15))?;
//! let sentinel = Sentinel::from_arc(store).store_name("orders")?.namespace("billing")?;
//! # drop(sentinel);
//! exporter.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Spans
//!
//! Each call of `once` has a span `sentinel.once`, and a wait for another run or lease one named `sentinel.wait` below
//! it, at level `info` and target `sentinel`. The field names are those that `tracing-opentelemetry` understands:
//! `otel.kind`, `otel.status_code` and `error.type`, and as attributes `sentinel.namespace`, `sentinel.token`,
//! `sentinel.incarnation`, `sentinel.outcome`, `sentinel.caller_gone`, `sentinel.ended`, `sentinel.running_trace_id`
//! (of a wait: the trace of the run that it waits for, if the [cause](crate::record::Cause) of that run has one), and
//! `sentinel.key` if the client traces keys. The status is `ERROR` for the outcomes `ran_uncertain`, `uncertain`,
//! `unconfirmed` and `superseded`, and if the store could not answer. A replay, a run in progress and a failure for
//! good are no errors.
//! A span goes on while its function runs, also if the caller has gone: `sentinel.caller_gone` is then `true`. Events
//! of a span: `claimed`, `begun`, `lapsed` and `completed` at level `debug`, and those of [`EVENTS`].

pub use sentinel_client::signals::*;
