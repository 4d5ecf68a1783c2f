//! Operations and replies as data: for models, generated tests and recorded histories.

use serde::{Deserialize, Serialize};

use super::operations::{Operation as _, apply};
use super::reading::{Reading, Transition};
use crate::address::Kind;
use crate::error::Invalid;
use crate::operation::*;
use crate::record::Record;

macro_rules! any {
    ([] $($_method:ident, $op:ident, $reply:ident;)*) => {
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
            /// The name used in logs and metrics.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$op(_) => <$op as super::operations::Operation>::NAME,)*
                    Self::Heartbeat(_) => Heartbeat::NAME,
                }
            }

            /// Whether a record of this kind supports the operation. Returns an error if it does not.
            pub fn admit(&self, kind: Kind) -> Result<(), Invalid> {
                match self {
                    $(Self::$op(op) => op.admit(kind),)*
                    Self::Heartbeat(op) => op.admit(kind),
                }
            }

            /// Runs [`apply`] for whichever operation this is.
            pub fn apply(&self, record: &mut Record, at: Reading) -> Result<Transition<Reply>, Invalid> {
                match self {
                    $(Self::$op(op) => Ok(wrap(apply(record, op, at)?, Reply::$op)),)*
                    Self::Heartbeat(op) => Ok(wrap(apply(record, op, at)?, Reply::Heartbeat)),
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

crate::for_each_operation!(any []);

fn wrap<R, S>(outcome: Transition<R>, into: impl FnOnce(R) -> S) -> Transition<S> {
    Transition { stamped: outcome.stamped.map(into), event: outcome.event }
}

impl<R> Stamped<R> {
    /// Converts the reply and keeps the stamp.
    pub fn map<S>(self, into: impl FnOnce(R) -> S) -> Stamped<S> {
        Stamped { reply: into(self.reply), stamp: self.stamp }
    }
}
