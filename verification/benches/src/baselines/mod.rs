//! The baselines: for each workload, the least work that could replace it.

pub(crate) mod map;
pub(crate) mod pgbench;
pub(crate) mod postgres;
pub(crate) mod redis;
pub(crate) mod sqlite;
pub(crate) mod tables;
