//! `metrics` and `observability`, the dashboard, and the alert rules with their tests.

mod files;
mod program;
mod promql;
mod rules;
