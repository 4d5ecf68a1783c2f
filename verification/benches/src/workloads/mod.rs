//! What is measured.

mod backlog;
mod common;
mod contended;
mod cpu;
mod fresh;
mod heartbeat;
mod http;
mod join;
mod large;
mod lease;
mod memory;
mod mixed;
mod program;
mod replay;
mod sizes;
mod wal;

use crate::context::BenchContext;
use crate::report::Report;
use crate::target::Target;

/// Something to measure, on all stores where it is of use.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Whether it is measured by default.
    pub(crate) by_default: bool,
    pub(crate) run: fn(&BenchContext, &mut Report),
}

/// Everything that can be measured, in the order in which it is.
pub(crate) const ALL: &[Workload] = &[
    by_default("fresh", "executions of new keys", fresh::run),
    by_default("replay", "calls for completed keys", replay::run),
    by_default("contended", "many calls for one key at once; one runs", contended::run),
    by_default("join", "waiting for a run of another process, and the notification", join::run),
    by_default("lease", "acquiring and releasing a lease", lease::run),
    by_default("heartbeat", "renewing 100 to 100,000 live leases in one call", heartbeat::run),
    by_default("sizes", "executions with results of 100 B, 10 KiB and 1 MiB", sizes::run),
    by_default("mixed", "a day: 70 % replays, 20 % fresh, 10 % contended", mixed::run),
    by_default("http", "requests through the idempotency layer, fresh and replayed", http::run),
    by_default("program", "the start of `sentinel`", program::run),
    by_default("cpu", "processor time of an operation, of server and client", cpu::run),
    by_default("wal", "bytes of log and transactions of an execution", wal::run),
    by_default("backlog", "purging a million records on PostgreSQL", backlog::run),
    Workload {
        name: "large",
        what: "claiming and listing among 10 thousand and 10 million records",
        by_default: false,
        run: large::run,
    },
];

const fn by_default(name: &'static str, what: &'static str, run: fn(&BenchContext, &mut Report)) -> Workload {
    Workload { name, what, by_default: true, run }
}

/// The end of `--help`.
pub(crate) fn help() -> String {
    let workload = |one: &Workload| {
        let asked = if one.by_default { "" } else { " (only when asked for)" };
        format!("  {:<10} {}{asked}\n", one.name, one.what)
    };
    let stores = Target::ALL.map(Target::name).join(", ");
    let workloads: String = ALL.iter().map(workload).collect();
    format!("Workloads:\n{workloads}\nStores: {stores}; `postgres` and `redis` mean all ways there.")
}
