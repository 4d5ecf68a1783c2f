//! The operations of the contract, listed once.

/// Calls a macro with every operation on one record, in the order of spec §3: the method of
/// [`CoordinationStore`](crate::CoordinationStore), the request and the reply.
///
/// `for_each_operation!(then [arguments])` becomes
/// `then! { [arguments] claim, Claim, ClaimReply; begin, Begin, BeginReply; .. }`. A macro that implements the contract
/// for a wrapper repeats one method for each line, so that an operation that is added here is in every wrapper. A macro
/// that treats some operations in its own way matches their lines by name and repeats the others; it no longer compiles
/// when the list changes before them. `heartbeat` is not in the list: it is sent for many records at once, and each
/// wrapper decides what becomes of a batch.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_operation {
    ($($then:tt)::+ [$($arguments:tt)*]) => {
        $($then)::+! {
            [$($arguments)*]
            claim, Claim, ClaimReply;
            begin, Begin, BeginReply;
            complete, Complete, CompleteReply;
            cancel, Cancel, CancelReply;
            release, Release, ReleaseReply;
            abandon, Abandon, AbandonReply;
            reconcile, Reconcile, ReconcileReply;
            force_complete, ForceComplete, ForceCompleteReply;
            reset_to_claimed, ResetToClaimed, ResetReply;
            evict, Evict, EvictReply;
        }
    };
}

/// Implements [`CoordinationStore`](crate::CoordinationStore) for a type that passes every request on to a store.
///
/// `__passes_on! { [generics] Type; store, changes: expression, reads: expression }`: the first expression gives the
/// store that receives requests which may change a record, the second one the store that is read. In both, `store` is
/// the reference to the type.
#[doc(hidden)]
#[macro_export]
macro_rules! __passes_on {
    ([$($generic:tt)*] $type:ty; $store:ident, changes: $changes:expr, reads: $reads:expr) => {
        $crate::for_each_operation! {
            $crate::__passes_on_each [[$($generic)*] $type; $store, $changes, $reads]
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __passes_on_each {
    (
        [[$($generic:tt)*] $type:ty; $store:ident, $changes:expr, $reads:expr]
        $($method:ident, $op:ident, $reply:ident;)*
    ) => {
        const _: () = {
            use ::std::time::Duration;

            use $crate::operation::*;
            use $crate::store::{Description, Health, Inspection, List, Listing, Notice, Purge, Purged};
            use $crate::{Address, CoordinationStore, Event, StoreError};

            #[::async_trait::async_trait]
            #[deny(clippy::missing_trait_methods, reason = "every request is passed on")]
            impl<$($generic)*> CoordinationStore for $type {
                fn describe(&self) -> Description {
                    let $store = self;
                    $reads.describe()
                }
                $(async fn $method(&self, address: &Address, op: &$op) -> Result<Stamped<$reply>, StoreError> {
                    let $store = self;
                    $changes.$method(address, op).await
                })*
                async fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
                    let $store = self;
                    $changes.heartbeat(beats).await
                }
                async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
                    let $store = self;
                    $changes.purge(purge).await
                }
                async fn inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
                    let $store = self;
                    $reads.inspect(address).await
                }
                async fn list(&self, list: &List) -> Result<Listing, StoreError> {
                    let $store = self;
                    $reads.list(list).await
                }
                async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
                    let $store = self;
                    $reads.history(address, limit).await
                }
                async fn changed(&self, address: &Address, within: Duration) -> Notice {
                    let $store = self;
                    $reads.changed(address, within).await
                }
                async fn health(&self) -> Result<Health, StoreError> {
                    let $store = self;
                    $reads.health().await
                }
            }
        };
    };
}
