//! The least that could be done in place of each workload.

pub(crate) mod map;
pub(crate) mod pgbench;
pub(crate) mod postgres;
pub(crate) mod redis;
pub(crate) mod sqlite;
pub(crate) mod tables;
