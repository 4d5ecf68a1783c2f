//! The tables of metrics and log events are what the client really reports.

mod events;
mod metrics;
mod spans;
mod survey;
