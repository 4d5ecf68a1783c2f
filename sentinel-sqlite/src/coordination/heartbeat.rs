//! Heartbeats: many leases in one transaction.

use sentinel_core::operation::{Beat, Heartbeat, HeartbeatReply, Stamp, Stamped};

use crate::connection::context::TransactionContext;
use crate::error::Fault;

impl TransactionContext<'_> {
    /// Extends many leases. A record that cannot be read costs its own beat only.
    pub(crate) fn heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, Fault> {
        let beat = |beat: &Beat| match self.transition(&beat.address, &Heartbeat { grant: beat.grant }) {
            Err(Fault::Unreadable(what)) => {
                tracing::error!(namespace = %beat.address.namespace, what, "a record cannot be read");
                Ok(Stamped { reply: HeartbeatReply::Unknown, stamp: Stamp::unseen(self.clock.now()) })
            }
            other => other,
        };
        beats.iter().map(beat).collect()
    }
}
