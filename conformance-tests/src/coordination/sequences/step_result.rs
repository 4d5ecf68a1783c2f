//! The trace of a sequence, step by step.

use std::fmt;
use std::time::Duration;

use sentinel_core::kernel::Reply;
use sentinel_core::operation::{HeartbeatReply, Stamped};
use sentinel_core::store::Purged;

/// The result of a step, kept for the trace of a sequence that fails.
pub(super) enum StepResult {
    Invalid,
    Reply(Stamped<Reply>),
    Passed(Duration),
    Beats(Vec<Stamped<HeartbeatReply>>),
    Purged(Purged),
    Listed(usize),
}

impl fmt::Display for StepResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid => f.write_str("refused as invalid"),
            Self::Reply(Stamped { reply, stamp }) => {
                write!(f, "{reply:?} at {}, rev {}, {}", stamp.now, stamp.rev, stamp.state)
            }
            Self::Passed(by) => write!(f, "{by:?}"),
            Self::Beats(replies) => write!(f, "{replies:?}"),
            Self::Purged(purged) => write!(f, "{purged:?}"),
            Self::Listed(records) => write!(f, "{records} records"),
        }
    }
}
