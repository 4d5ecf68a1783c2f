//! Stores that wrap another store and see each request as data.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::address::Address;
use crate::error::{ErrorKind, StoreError};
use crate::event::Event;
use crate::gather::GatheredBeats;
use crate::kernel::{Op, Reply};
use crate::operation::*;
use crate::store::{CoordinationStore, Description, Inspection, List, Listing, Notice, Purge, Purged};
use async_trait::async_trait;

/// A wrapper around another store. [`Layered`] makes it a store. All operations on one record go through one method,
/// [`on_op`](Self::on_op). The other methods pass the request on unless they are overridden.
///
/// A layer hides its store: methods that only one store has, such as those that take a user's transaction, do not look
/// through it.
#[async_trait]
pub trait Layer: Debug + Send + Sync + 'static {
    /// The wrapped store.
    fn inner(&self) -> &Arc<dyn CoordinationStore>;

    /// The description that this store returns.
    fn on_describe(&self) -> Description {
        self.inner().describe()
    }

    /// Handles an operation on one record.
    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError>;

    /// Handles a batch of heartbeats. By default each is sent by itself, one after the other.
    async fn on_heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        let mut gathered = GatheredBeats::new(beats.len());
        for (n, beat) in beats.iter().enumerate() {
            match self.on_op(&beat.address, Op::Heartbeat(Heartbeat { grant: beat.grant })).await {
                Ok(Stamped { reply: Reply::Heartbeat(reply), stamp }) => {
                    gathered.answered(n, Stamped { reply, stamp });
                }
                Ok(other) => gathered.failed([n], astray(&other.reply)),
                Err(error) => gathered.failed([n], error),
            }
        }
        gathered.finish()
    }

    /// Handles a purge.
    async fn on_purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        self.inner().purge(purge).await
    }

    /// Handles a read of one record.
    async fn on_inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        self.inner().inspect(address).await
    }

    /// Handles a read of a page of records.
    async fn on_list(&self, list: &List) -> Result<Listing, StoreError> {
        self.inner().list(list).await
    }

    /// Handles a read of a record's events.
    async fn on_history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.inner().history(address, limit).await
    }

    /// Handles a wait for a change.
    async fn on_changed(&self, address: &Address, within: Duration) -> Notice {
        self.inner().changed(address, within).await
    }
}

/// Makes a store of a [`Layer`].
#[derive(Debug, Clone)]
pub struct Layered<L>(pub L);

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "what the layer overrides counts")]
impl<L: Layer> Layer for Layered<L> {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        self.0.inner()
    }
    fn on_describe(&self) -> Description {
        self.0.on_describe()
    }
    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        self.0.on_op(address, op).await
    }
    async fn on_heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        self.0.on_heartbeat(beats).await
    }
    async fn on_purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        self.0.on_purge(purge).await
    }
    async fn on_inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        self.0.on_inspect(address).await
    }
    async fn on_list(&self, list: &List) -> Result<Listing, StoreError> {
        self.0.on_list(list).await
    }
    async fn on_history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.0.on_history(address, limit).await
    }
    async fn on_changed(&self, address: &Address, within: Duration) -> Notice {
        self.0.on_changed(address, within).await
    }
}

/// The error if a store returned the reply of another operation.
#[doc(hidden)]
pub fn astray(reply: &Reply) -> StoreError {
    StoreError::ambiguous(
        ErrorKind::BrokenStore,
        format!("the reply belongs to another operation: {reply:?}"),
    )
}

/// Implements [`CoordinationStore`] for types that are a [`Layer`]. `Layered` is made with it.
#[doc(hidden)]
#[macro_export]
macro_rules! __layers_are_stores {
    ($([$($generic:tt)*] $layer:ty;)*) => {
        $($crate::for_each_operation! { $crate::__layer_is_a_store [[$($generic)*] $layer] })*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __layer_is_a_store {
    ([[$($generic:tt)*] $layer:ty] $($method:ident, $op:ident, $reply:ident;)*) => {
        const _: () = {
            use std::time::Duration;

            use $crate::kernel::{Op, Reply};
            use $crate::operation::*;
            use $crate::store::{Description, Health, Inspection, List, Listing, Notice, Purge, Purged};
            use $crate::{Address, CoordinationStore, Event, Layer as _, StoreError};

            #[::async_trait::async_trait]
            #[deny(clippy::missing_trait_methods, reason = "every request goes through the layer")]
            impl<$($generic)*> CoordinationStore for $layer {
                fn describe(&self) -> Description {
                    self.on_describe()
                }
                $(async fn $method(&self, address: &Address, op: &$op) -> Result<Stamped<$reply>, StoreError> {
                    match self.on_op(address, Op::from(op.clone())).await? {
                        Stamped { reply: Reply::$op(reply), stamp } => Ok(Stamped { reply, stamp }),
                        other => Err($crate::layer::astray(&other.reply)),
                    }
                })*
                async fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
                    self.on_heartbeat(beats).await
                }
                async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
                    self.on_purge(purge).await
                }
                async fn inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
                    self.on_inspect(address).await
                }
                async fn list(&self, list: &List) -> Result<Listing, StoreError> {
                    self.on_list(list).await
                }
                async fn history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
                    self.on_history(address, limit).await
                }
                async fn changed(&self, address: &Address, within: Duration) -> Notice {
                    self.on_changed(address, within).await
                }
                async fn health(&self) -> Result<Health, StoreError> {
                    self.inner().health().await
                }
            }
        };
    };
}

__layers_are_stores! {
    [L: Layer] Layered<L>;
}
