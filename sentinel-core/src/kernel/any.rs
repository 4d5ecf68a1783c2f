//! Operations and replies as data: for models, generated tests and recorded histories.

use serde::{Deserialize, Serialize};

use super::{Operation as _, Outcome, Reading, apply};
use crate::address::{Address, Kind};
use crate::error::{Invalid, StoreError};
use crate::operation::*;
use crate::record::Record;
use crate::store::CoordinationStore;

macro_rules! any {
    ($($op:ident, $reply:ident, $method:ident;)*) => {
        /// Any operation on one record.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[expect(missing_docs, reason = "each is documented at its own type")]
        pub enum Op {
            $($op($op),)*
            Heartbeat(Heartbeat),
        }

        /// Any reply to an operation on one record.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[expect(missing_docs, reason = "each is documented at its own type")]
        pub enum Reply {
            $($op($reply),)*
            Heartbeat(HeartbeatReply),
        }

        impl Op {
            /// The word used in logs and metrics.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$op(_) => <$op as super::Operation>::NAME,)*
                    Self::Heartbeat(_) => Heartbeat::NAME,
                }
            }

            /// Whether a record of this kind can be asked this.
            pub fn admit(&self, kind: Kind) -> Result<(), Invalid> {
                match self {
                    $(Self::$op(op) => op.admit(kind),)*
                    Self::Heartbeat(op) => op.admit(kind),
                }
            }

            /// [`apply`], for any operation.
            pub fn apply(&self, record: &mut Record, at: Reading) -> Result<Outcome<Reply>, Invalid> {
                match self {
                    $(Self::$op(op) => Ok(wrap(apply(record, op, at)?, Reply::$op)),)*
                    Self::Heartbeat(op) => Ok(wrap(apply(record, op, at)?, Reply::Heartbeat)),
                }
            }

            /// Sends the operation to a store. A heartbeat goes as a batch of one.
            pub async fn send(
                &self,
                store: &dyn CoordinationStore,
                address: &Address,
            ) -> Result<Stamped<Reply>, StoreError> {
                match self {
                    $(Self::$op(op) => Ok(store.$method(address, op).await?.map(Reply::$op)),)*
                    Self::Heartbeat(op) => {
                        let beat = Beat { address: address.clone(), grant: op.grant };
                        let replies = store.heartbeat(&[beat]).await?;
                        let reply = <[_; 1]>::try_from(replies).map_err(|replies| {
                            let detail = format!("one heartbeat got {} replies", replies.len());
                            StoreError::ambiguous(crate::error::Trouble::BrokenStore, detail)
                        })?;
                        let [reply] = reply;
                        Ok(reply.map(Reply::Heartbeat))
                    }
                }
            }
        }

        $(impl From<$op> for Op {
            fn from(op: $op) -> Self {
                Self::$op(op)
            }
        })*

        impl From<Heartbeat> for Op {
            fn from(op: Heartbeat) -> Self {
                Self::Heartbeat(op)
            }
        }
    };
}

any! {
    Claim, ClaimReply, claim;
    Begin, BeginReply, begin;
    Complete, CompleteReply, complete;
    Cancel, CancelReply, cancel;
    Release, ReleaseReply, release;
    Abandon, AbandonReply, abandon;
    Reconcile, ReconcileReply, reconcile;
    ForceComplete, ForceCompleteReply, force_complete;
    ResetToClaimed, ResetReply, reset_to_claimed;
    Evict, EvictReply, evict;
}

fn wrap<R, S>(outcome: Outcome<R>, into: impl FnOnce(R) -> S) -> Outcome<S> {
    Outcome { stamped: outcome.stamped.map(into), event: outcome.event }
}

impl<R> Stamped<R> {
    /// The same stamp on another reply.
    pub fn map<S>(self, into: impl FnOnce(R) -> S) -> Stamped<S> {
        Stamped { reply: into(self.reply), stamp: self.stamp }
    }
}
