//! The configurations, and which rule is missed where.

use sentinel_core::Kind;

use crate::setup::invariant::*;
use crate::setup::{Broken, Sabotage, Setup, ticks};

/// Fused and two-step calls that meet, with lost, late and repeated messages, and one operator.
fn executions() -> Setup {
    let about = "fused and two-step claims; lost, late and repeated messages; one operator";
    Setup {
        workers: vec![(true, None), (false, None)],
        operators: 1,
        doubts: true,
        vouches: true,
        ..Setup::new("executions", about, Kind::Execution)
    }
}

/// Three calls of the longer form.
fn crowd() -> Setup {
    let about = "three two-step calls, lapsing and taken over";
    Setup {
        workers: vec![(false, None), (false, None), (false, None)],
        ..Setup::new("crowd", about, Kind::Execution)
    }
}

/// Workers that stand still anywhere: `once` rests on no clock.
fn pauses() -> Setup {
    let about = "workers and functions that stand still for any time; nothing asserted of overlaps";
    Setup {
        workers: vec![(true, None), (false, None)],
        operators: 1,
        pauses: true,
        resource: true,
        asserted: EACH & !L2,
        ..Setup::new("pauses", about, Kind::Execution)
    }
}

/// Two operators who meet, steal, and repeat themselves late.
fn operators() -> Setup {
    let about = "two operators: live executions, steals, accepted overlap, late and repeated decisions";
    Setup {
        workers: vec![(true, None), (true, None)],
        operators: 2,
        even_if_alive: true,
        steal: true,
        overlap: true,
        ..Setup::new("operators", about, Kind::Execution)
    }
}

/// Calls that give up, withdraw and resend.
fn cancels() -> Setup {
    let about = "calls that give up, withdraw and resend; claim ids that are remembered";
    Setup {
        workers: vec![(true, None), (false, None)],
        withdraws: true,
        vouches: true,
        extra: 2,
        beats: 1,
        ..Setup::new("cancels", about, Kind::Execution)
    }
}

/// Leases under heartbeats, and an operator who evicts.
fn leases() -> Setup {
    let about = "leases with heartbeats, the hard deadline, evictions, and a resource behind a fence";
    Setup {
        workers: vec![(false, None), (false, None)],
        operators: 1,
        clock: ticks(4),
        beats: 2,
        evict: true,
        resource: true,
        // An operator who evicts a live lease accepts the overlap.
        asserted: EACH & !(I1 | L2),
        ..Setup::new("leases", about, Kind::Lease)
    }
}

/// Leases, nobody evicts: two holders never overlap.
fn exclusion() -> Setup {
    let about = "leases whose holders heed their deadlines: no two hold at once";
    Setup {
        workers: vec![(false, None), (false, None)],
        clock: ticks(4),
        beats: 2,
        withdraws: true,
        resource: true,
        asserted: EACH & !I1,
        ..Setup::new("exclusion", about, Kind::Lease)
    }
}

/// Holders that are paused past their deadlines.
fn fences() -> Setup {
    let about = "lease holders that are paused past their deadlines: only the fence holds";
    Setup { pauses: true, asserted: EACH & !(I1 | L2), name: "fences", about, ..exclusion() }
}

/// Requests that differ under one key.
fn fingerprints() -> Setup {
    let about = "two requests under one key, and one that does not say";
    Setup {
        workers: vec![(true, Some(1)), (false, Some(2)), (false, None)],
        retention: Some(10),
        extra: 0,
        ..Setup::new("fingerprints", about, Kind::Execution)
    }
}

/// Results that are over, records that are purged, and a clock that then steps back.
fn retention() -> Setup {
    let about = "retention that ends, purges, and a clock that steps back after a purge";
    let hour = 60 * 60 * 1000;
    Setup {
        workers: vec![(true, None), (false, None)],
        operators: 1,
        retention: Some(10),
        purge: true,
        clock: vec![
            (1000, 1000),
            (1010, 1010),
            (1020, 1020),
            (1021 + hour, 1021 + hour),
            (1015, 1031 + hour),
        ],
        ..Setup::new("retention", about, Kind::Execution)
    }
}

/// A synchronous standby takes over: only what no barrier covered may be lost.
fn failover() -> Setup {
    let about = "a synchronous standby takes over, without what no barrier covered";
    Setup {
        workers: vec![(true, None), (false, None)],
        operators: 1,
        failovers: 1,
        ..Setup::new("failover", about, Kind::Execution)
    }
}

/// All that must hold.
pub(crate) fn clean() -> Vec<Setup> {
    vec![
        executions(),
        crowd(),
        pauses(),
        operators(),
        cancels(),
        leases(),
        exclusion(),
        fences(),
        fingerprints(),
        retention(),
        failover(),
    ]
}
