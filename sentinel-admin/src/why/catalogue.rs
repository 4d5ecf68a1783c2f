//! All sentences that a story can have, each with an id that does not change. `{name}` is a slot.

macro_rules! catalogue {
    ($($id:ident $name:literal $text:literal;)*) => {
        /// The id of a sentence. Its [`name`](Self::name) is part of the JSON of a story.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Id {
            $(#[doc = $text] $id,)*
        }

        impl Id {
            /// All ids.
            pub const ALL: &'static [Self] = &[$(Self::$id,)*];

            /// The name, as the JSON of a story has it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$id => $name,)*
                }
            }

            /// The sentence with its slots.
            pub fn template(self) -> &'static str {
                match self {
                    $(Self::$id => $text,)*
                }
            }
        }
    };
}

catalogue! {
    // What an event records.
    Claimed "claimed" "{who} claimed this key (token {token}, ttl {ttl}, hard ttl {hard_ttl}).";
    ClaimedAndBegan "claimed-and-began"
        "{who} claimed this key and began at once (token {token}, ttl {ttl}, hard ttl {hard_ttl}).";
    ClaimedAfterReset "claimed-after-reset"
        "{who} claimed this key{began}: the run that the reset had authorised (token {token}, ttl {ttl}, hard ttl \
         {hard_ttl}).";
    TookOver "took-over"
        "{who} took over from {other}, whose claim had lapsed before it began. Nothing had happened. {who} claimed \
         this key{began} (token {token}, ttl {ttl}, hard ttl {hard_ttl}).";
    BeganAnew "began-anew"
        "The retention of the result had ended. {who} claimed this key anew{began} (token {token}, ttl {ttl}, hard ttl \
         {hard_ttl}).";
    LeaseTaken "lease-taken" "{who} took the lease (token {token}, ttl {ttl}, hard ttl {hard_ttl}).";
    LeaseTakenOver "lease-taken-over"
        "{who} took the lease after that of {other} had ended (token {token}, ttl {ttl}, hard ttl {hard_ttl}).";
    Began "began" "{who} began. From then on the effect may have happened.";
    Completed "completed" "{who} recorded {result}.";
    CompletedLate "completed-late" "{who} recorded {result} {late} after its lease had ended.";
    CompletedAfterLapse "completed-after-lapse" "{who} recorded {result} after its lease had ended.";
    Withdrawn "withdrawn" "The call of {who} was withdrawn: its function did not run. The key became free.";
    WithdrawnBefore "withdrawn-before-grant"
        "A call that held no claim was withdrawn. If its claim still arrives, it is refused.";
    Released "released" "{who} gave the claim back before it began. The key became free.";
    ReleasedVouched "released-vouched" "{who} reported that nothing happened. The key became free.";
    LeaseReleased "lease-released" "{who} released the lease.";
    Abandoned "abandoned"
        "{who} reported that the outcome is not known{reason}. A reset is possible from {until}.";
    Taken "taken" "{operator} took the key{reason}. Results of the earlier run are refused since then.";
    TakenAlive "taken-alive"
        "{operator} took the key while the lease of its worker was live{reason}. Results of the earlier run are \
         refused since then.";
    Stolen "stolen" "{operator} took the key over from {other}{reason}.";
    Forced "forced" "{operator} decided that it happened{reason}. Callers get {result}.";
    ForcedFailure "forced-failure" "{operator} decided that it failed for good{reason}. Callers get {result}.";
    Reset "reset" "{operator} decided that it did not happen{reason}. One more run is authorised.";
    ResetOverlap "reset-overlap"
        "{operator} decided that it did not happen{reason}. One more run is authorised. The earlier run could act \
         until {until}, so two runs may have overlapped.";
    ResetEarly "reset-early"
        "{operator} decided that it did not happen{reason}. One more run is authorised. An effect of the earlier run \
         could land until {until}.";
    Evicted "evicted" "{operator} freed the claim of {other}{reason}.";
    LeaseEvicted "lease-evicted" "{operator} freed the lease of {other}{reason}.";
    Purged "purged" "Maintenance deleted an earlier record of this key, and its events.";

    // Runs of equal events.
    FoldedVouched "folded-released-vouched"
        "{count} in a row, the last at {until}, were each released: nothing happened.";
    FoldedReleased "folded-released"
        "{count} in a row, the last at {until}, were each given back before they began.";
    FoldedLeases "folded-leases" "{count} in a row, the last at {until}, were each released.";
    FoldedWithdrawn "folded-withdrawn"
        "{count} in a row, the last at {until}, were each withdrawn: their functions did not run.";
    FoldedLapsed "folded-lapsed"
        "{count} in a row, the last at {until}, each lapsed before they began. Nothing had happened.";
    FoldedCompleted "folded-completed"
        "{count} in a row, the last at {until}, each recorded a result, whose retention then ended.";

    // What events do not record, and the record shows.
    Heartbeats "heartbeats" "It sent {count}{last}.";
    HeartbeatsAtLeast "heartbeats-at-least" "It sent at least {count}{last}.";
    ClaimLapsed "claim-lapsed" "Its lease ended before it began. Nothing has happened.";
    LeaseLapsed "lease-lapsed" "It ended.";
    Lapsed "lapsed" "Its lease ended. Whether the effect happened is not known.";
    LapsedMayRun "lapsed-may-run"
        "Its lease ended. Whether the effect happened is not known. The run may continue until {until}.";
    MayStillRun "may-still-run" "The run may continue until {until}.";
    LogCut "log-cut" "Events before rev {rev} were dropped.";
    LogUnread "log-unread" "Events before rev {rev} were not read.";
    NoEvents "no-events" "Its events were not read.";
    About "about" "It is about {about}.";
    Root "root" "It was claimed because of {root}.";
    Because "because" "It has the same cause as {key} in {namespace}.";

    // What the state means for callers and for the run.
    CallersRun "callers-run" "The next call runs.";
    CallersTakeOver "callers-take-over" "The next call takes over.";
    CallersInProgress "callers-in-progress" "Other callers get the answer that it is in progress.";
    CallersUncertain "callers-uncertain"
        "Callers get the answer that it is uncertain. If the run records its result, that is accepted.";
    CallersReconciling "callers-reconciling"
        "Callers get the answer that an operator is deciding. A result of the earlier run is refused.";
    CallersReplay "callers-replay" "Callers get {result}{kept}.";
    CallersLease "callers-lease" "Other callers do not get the lease before {until}.";
    ReconcilerRuns "reconciler-runs" "{who} reconciles the keys of this namespace by code.";

    // What is known of the store.
    StoreDistrusted "store-distrusted" "The store reported: {error}.";
    DeploymentRefused "deployment-refused" "The deployment is refused: {finding}.";
    DeploymentMayLose "deployment-may-lose"
        "The deployment ({deployment}) can lose acknowledged writes, also those of this key. {finding}";

    // Headlines.
    IsAbsent "is-absent" "{key} in {namespace} has no record: no call has claimed it, or its record was deleted.";
    IsFree "is-free" "{key} in {namespace} is free. The next call runs.";
    IsReset "is-reset" "{key} in {namespace} is free after a reset. The next call runs.";
    IsClaimed "is-claimed" "{key} in {namespace} has been claimed for {age}, and has not begun.";
    IsLapsed "is-lapsed" "{key} in {namespace} is claimed, and its lease ended {age} ago before it began.";
    IsExecuting "is-executing" "{key} in {namespace} has been executing for {age}.";
    IsUncertain "is-uncertain"
        "{key} in {namespace} has been uncertain for {age}. No call runs under it until it is settled.";
    IsReconciling "is-reconciling"
        "{operator} took {key} in {namespace} {age} ago. No call runs under it until it is settled.";
    IsCompleted "is-completed" "{key} in {namespace} was completed {age} ago.";
    IsFailed "is-failed" "{key} in {namespace} failed for good {age} ago.";
    IsPastRetention "is-past-retention"
        "{key} in {namespace} was completed, and the retention of its result ended {age} ago. The next call runs.";
    IsLeaseFree "is-lease-free" "The lease {key} in {namespace} is free.";
    IsLeaseAbsent "is-lease-absent" "The lease {key} in {namespace} has no record: it is free.";
    IsLeaseHeld "is-lease-held" "The lease {key} in {namespace} has been held by {who} for {age}.";
    IsLeaseLapsed "is-lease-lapsed" "The lease {key} in {namespace} ended {age} ago. The next caller gets it.";
    LogDiffers "log-differs" "The record of {key} in {namespace} and its events disagree.";
    CannotBeTrusted "cannot-be-trusted" "What the store answers about {key} in {namespace} cannot be trusted now.";

    // Why a step is offered.
    StepRun "step-run" "Run it.";
    StepRunAfterReset "step-run-after-reset"
        "Run it: one more run is authorised. The provider key stays {idempotency_key}.";
    StepTakeOver "step-take-over" "The next caller takes over by itself.";
    StepRunAgain "step-run-again" "Past its retention the next call runs it again.";
    StepWaitClaim "step-wait-claim" "Wait: the lease ends at {until}, unless a heartbeat extends it.";
    StepWaitRun "step-wait-run" "Wait: the run is alive. Its lease ends at {until}, unless a heartbeat extends it.";
    StepWaitResult "step-wait-result"
        "Wait: if {who} returns, its result is recorded. A reset without overlap is possible from {until}.";
    StepWaitEffects "step-wait-effects" "Wait: a reset without overlap is possible from {until}.";
    StepWaitReconciler "step-wait-reconciler" "Wait: {who} probes this key again by code.";
    StepAskProvider "step-ask-provider" "Search the provider for {idempotency_key}.";
    StepHappened "step-happened" "If it happened, record its result.";
    StepDidNotHappen "step-did-not-happen" "If it did not happen, allow one more run.";
    StepReconcile "step-reconcile" "Take the key and decide later.";
    StepReconcileLapsed "step-reconcile-lapsed" "Take the key, once its lease has ended.";
    StepReconcileAlive "step-reconcile-alive" "Take the key although its worker is alive.";
    StepForce "step-force-complete" "If it happened, record its result.";
    StepReset "step-reset" "If it did not happen, allow one more run.";
    StepResetOverlap "step-reset-overlap"
        "If it did not happen, allow one more run before the effects of the earlier one have landed.";
    StepAskOperator "step-ask-operator" "Ask {operator}, who has held the key since {since}.";
    StepSteal "step-steal" "Take the key over from {operator}.";
    StepEvict "step-evict" "Free it, if {who} will not come back.";
    StepReplayed "step-replayed" "There is nothing to do: callers get {result}{kept}.";
    StepDoctor "step-doctor" "Check the deployment.";
    StepReport "step-report" "Decide nothing here. Check the store, and compare the key with the outside world.";
    StepCompare "step-compare" "Compare what ran last with the outside world.";
    StepInit "step-init" "Accept the store again, once you have compared.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sentences_are_well_formed() {
        let mut names: Vec<&str> = Id::ALL.iter().map(|id| id.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Id::ALL.len(), "two sentences have one name");
        for id in Id::ALL {
            let (name, text) = (id.name(), id.template());
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{name}");
            assert!(text.starts_with(|c: char| c == '{' || c.is_ascii_uppercase()), "{text}");
            assert_eq!(text.matches('{').count(), text.matches('}').count(), "{text}");
            assert!(!text.contains("  "), "{text}");
        }
    }
}
