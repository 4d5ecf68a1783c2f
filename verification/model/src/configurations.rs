//! The configurations that must be clean.

use sentinel_core::Kind;

use crate::setup::invariant::*;
use crate::setup::{Broken, Setup, ticks};

/// Fused and two-step calls that meet, with lost, late and repeated messages, and one operator.
pub(crate) fn executions() -> Setup {
    let about = "fused and two-step claims; lost, late and repeated messages; one operator";
    Setup {
        workers: vec![(true, None), (false, None)],
        operators: 1,
        doubts: true,
        vouches: true,
        withdraws: true,
        ..Setup::new("executions", about, Kind::Execution)
    }
}

/// Functions whose effects land after they ended, with an abandon that may be late or lost.
pub(crate) fn late_effects() -> Setup {
    let about =
        "effects that land after their function ended in doubt or was cut off; one operator who resets";
    Setup {
        workers: vec![(true, None), (true, None)],
        operators: 1,
        clock: ticks(5),
        late: 10,
        extra: 0,
        beats: 1,
        doubts: true,
        panics: true,
        ..Setup::new("late-effects", about, Kind::Execution)
    }
}

/// Three calls of the longer form.
pub(crate) fn crowd() -> Setup {
    let about = "three two-step calls, lapsing and taken over";
    Setup {
        workers: vec![(false, None), (false, None), (false, None)],
        extra: 0,
        ..Setup::new("crowd", about, Kind::Execution)
    }
}

/// Workers that stop anywhere: `once` relies on no clock.
pub(crate) fn pauses() -> Setup {
    let about = "workers and functions that stop for any time; overlaps are not checked";
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
pub(crate) fn operators() -> Setup {
    let about = "two operators who meet, steal, and repeat themselves late; a second run after a reset";
    Setup {
        workers: vec![(true, None), (true, None)],
        operators: 2,
        steal: true,
        ..Setup::new("operators", about, Kind::Execution)
    }
}

/// An operator who does not wait for a live worker.
pub(crate) fn haste() -> Setup {
    let about = "an operator who does not wait: live executions taken, overlaps accepted, a second reconcile";
    Setup {
        workers: vec![(true, None), (false, None)],
        operators: 1,
        rounds: 2,
        even_if_alive: true,
        overlap: true,
        resource: true,
        ..Setup::new("haste", about, Kind::Execution)
    }
}

/// Calls that give up, withdraw and resend.
pub(crate) fn cancels() -> Setup {
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
pub(crate) fn leases() -> Setup {
    let about = "leases with heartbeats, the hard deadline, evictions, and a resource behind a fence";
    Setup {
        workers: vec![(false, None), (false, None)],
        operators: 1,
        clock: ticks(4),
        ttl: 20,
        hard: 25,
        beats: 1,
        evict: true,
        resource: true,
        // An operator who evicts a live lease accepts the overlap.
        asserted: EACH & !(I1 | L2),
        ..Setup::new("leases", about, Kind::Lease)
    }
}

/// Leases without evictions: two holders never overlap.
pub(crate) fn exclusion() -> Setup {
    let about = "leases whose holders heed their deadlines: no two hold at once";
    Setup {
        workers: vec![(false, None), (false, None)],
        clock: ticks(5),
        ttl: 20,
        hard: 30,
        beats: 2,
        withdraws: true,
        resource: true,
        asserted: EACH & !I1,
        ..Setup::new("exclusion", about, Kind::Lease)
    }
}

/// Holders that are paused past their deadlines.
pub(crate) fn fences() -> Setup {
    let about = "lease holders that are paused past their deadlines: only the fence holds";
    Setup { pauses: true, beats: 1, asserted: EACH & !(I1 | L2), name: "fences", about, ..exclusion() }
}

/// Requests that differ under one key.
pub(crate) fn fingerprints() -> Setup {
    let about = "two requests under one key, and one without a fingerprint";
    Setup {
        workers: vec![(true, Some(1)), (false, Some(2)), (false, None)],
        retention: Some(10),
        extra: 0,
        ..Setup::new("fingerprints", about, Kind::Execution)
    }
}

/// Results that are over, records that are purged, and a clock that then steps back.
pub(crate) fn retention() -> Setup {
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

/// Statements that waited for a lock since their reading of clock and floor.
pub(crate) fn waits() -> Setup {
    let about = "statements that read clock and floor one instant before they write, and purges";
    let hour = 60 * 60 * 1000;
    let clock = [1000, 1010, 1020, 1021 + hour, 1026 + hour].map(|ms| (ms, ms)).to_vec();
    Setup { stale: true, extra: 0, clock, name: "waits", about, ..retention() }
}

/// A synchronous standby takes over: only what no barrier covered may be lost.
pub(crate) fn failover() -> Setup {
    let about = "a synchronous standby takes over, without what no barrier covered";
    Setup {
        workers: vec![(true, None), (false, None)],
        operators: 1,
        failovers: 1,
        ..Setup::new("failover", about, Kind::Execution)
    }
}

/// An asynchronous standby takes over: any suffix may be lost, answered or not.
pub(crate) fn data_loss() -> Setup {
    let about = "an asynchronous standby takes over: what was answered may be lost, tokens still grow";
    Setup {
        asynchronous: true,
        operators: 0,
        asserted: EACH & !(I1 | I4 | I6 | I10 | L1 | L2 | C1 | K1),
        name: "data-loss",
        about,
        ..failover()
    }
}

/// As before, onto a clock that is behind: tokens repeat, and the claim id must distinguish the generations.
pub(crate) fn skew() -> Setup {
    let about = "the same onto a clock that is behind: tokens repeat, claim ids distinguish the holders";
    Setup {
        clock: vec![(1000, 1000), (1000, 1010), (1010, 1020), (1020, 1030)],
        asserted: I5 | I7 | I8 | I11 | I12 | L3 | B1,
        name: "skew",
        about,
        ..data_loss()
    }
}

/// Leases before a synchronous standby.
pub(crate) fn lease_failover() -> Setup {
    let about = "leases while a synchronous standby takes over: no two hold at once";
    Setup { failovers: 1, beats: 1, withdraws: false, name: "lease-failover", about, ..exclusion() }
}

/// Callers that go away, and functions that panic or are dropped.
pub(crate) fn departures() -> Setup {
    let about = "callers that go away at any time, functions that panic or are dropped with their runtime";
    Setup {
        workers: vec![(true, None), (false, None)],
        operators: 1,
        panics: true,
        leaves: true,
        ..Setup::new("departures", about, Kind::Execution)
    }
}

/// A clock on the last microseconds that can be tokens.
pub(crate) fn last_tokens() -> Setup {
    let about =
        "a clock that passes the last exact token, 2^53-1: the store falls silent, tokens never repeat";
    let clock = [25, 15, 5].map(|left| LAST_MS - left).into_iter().chain([LAST_MS + 5]);
    Setup {
        workers: vec![(true, None), (false, None)],
        withdraws: true,
        vouches: true,
        clock: clock.map(|ms| (ms, ms)).collect(),
        // Nothing is claimable after the last token.
        asserted: EACH & !L3,
        ..Setup::new("brink", about, Kind::Execution)
    }
}

/// The last millisecond before 2^53 microseconds.
const LAST_MS: u64 = (1 << 53) / 1000;

/// A reset, after which calls come and go and the tombstone may be purged.
pub(crate) fn resets() -> Setup {
    let about = "a reset, and calls that come and go after it";
    Setup {
        workers: vec![(true, None), (true, None), (true, None)],
        operators: 1,
        withdraws: true,
        purge: true,
        extra: 0,
        clock: vec![(1000, 1000), (1010, 1010), (1020, 1020), (4_000_000, 4_000_000)],
        ..Setup::new("resets", about, Kind::Execution)
    }
}

/// All that must hold.
pub(crate) fn clean() -> Vec<Setup> {
    vec![
        executions(),
        late_effects(),
        crowd(),
        pauses(),
        operators(),
        haste(),
        cancels(),
        leases(),
        exclusion(),
        fences(),
        fingerprints(),
        resets(),
        departures(),
        retention(),
        waits(),
        last_tokens(),
        failover(),
        lease_failover(),
        data_loss(),
        skew(),
    ]
}

/// Faults of a client that the kernel turns away.
pub(crate) fn defended() -> Vec<Setup> {
    vec![executions().breaking(Broken::DropReleases)]
}
