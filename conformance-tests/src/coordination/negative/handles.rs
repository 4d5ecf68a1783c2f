//! Stores whose handles keep for themselves what belongs to the store, and stores that lose something when they are
//! opened again.

use std::sync::Arc;

use super::handles_store::{HandleFault, HandledStore};
use super::mutation::Mutation;

pub(super) fn all() -> Vec<Mutation> {
    [handles(), reopened()].concat()
}

macro_rules! built {
    ($rule:literal: $($fault:ident $name:literal)*) => {
        vec![$(Mutation::new($name, $rule).built(|| Arc::new(HandledStore::new(HandleFault::$fault)))),*]
    };
}

fn handles() -> Vec<Mutation> {
    built! { "store contract, no method depends on an earlier call":
        OwnRecords "keeps the records of each handle apart"
        OwnLock "locks a record within one handle only"
        LateWrites "writes to the other handles one request later"
        StaleReads "reads records from a cache of the handle"
        StaleHistories "reads events from a cache of the handle"
        StalePages "reads pages from a cache of the handle"
        TrustedRecords "decides by the record that the handle read last"
        TrustedAbsence "creates a record if the handle never read one"
        ClockAhead "has a clock of its own in each handle, some ahead"
        ClockBehind "has a clock of its own in each handle, some behind"
        ClockStopped "reads the clock once for each handle"
        OwnTokens "draws tokens from a counter of the handle"
        OwnClaimIds "remembers claim ids in the handle"
        OwnOpIds "remembers decisions in the handle"
        OwnReplays "replays results from a cache of the handle"
        OwnFloors "keeps the floor of a purge in the handle"
        FirstFloors "keeps the floor that the handle read first"
        OwnRetention "keeps the retention of a result in the handle"
        OwnFingerprints "keeps fingerprints in the handle"
        OwnLastReading "lifts the clock to the last reading of the handle"
        OwnHeartbeats "extends leases for the handle only"
    }
}

fn reopened() -> Vec<Mutation> {
    built! { "spec §5, I10":
        ReopenLosesTheLast "loses the last record when it is reopened"
        ReopenLosesEvents "loses events when it is reopened"
        ReopenLosesHeartbeats "loses extended leases when it is reopened"
        ReopenLosesClaimIds "loses remembered claim ids when it is reopened"
        ReopenLosesDecisions "loses remembered decisions when it is reopened"
        ReopenLosesFloors "loses the floors of purges when it is reopened"
        ReopenLosesReadings "loses the last reading of the clock when it is reopened"
        ReopenLosesResults "loses the bytes of results when it is reopened"
        ReopenLosesCauses "loses the cause of an abandon when it is reopened"
        ReopenFreesExecutions "frees what was executing when it is reopened"
        ReopenFreesClaims "frees what was claimed when it is reopened"
        ReopenEndsLeases "ends all leases when it is reopened"
        ReopenRevivesAbandoned "resumes what was uncertain when it is reopened"
        ReopenCountsAnew "restarts the tokens when it is reopened"
        ReopenEmpties "is empty when it is reopened"
    }
}
