//! A batch of heartbeats that a store sends in parts.

use crate::error::{Applied, ErrorKind, StoreError};
use crate::operation::{HeartbeatReply, Stamp, Stamped};
use crate::time::StoreTime;

/// Collects the replies to a batch of heartbeats that a store sends in parts, each of which can fail. The failure of
/// one part does not change the replies to the others, and an error is *not applied* only if no heartbeat was carried
/// out.
#[derive(Debug)]
pub struct GatheredBeats {
    replies: Vec<Option<Stamped<HeartbeatReply>>>,
    /// The beats of the parts that failed. The error that is kept is the first ambiguous one, or else the first one.
    failed: Vec<usize>,
    failure: Option<StoreError>,
}

impl GatheredBeats {
    /// Starts a collection for a number of heartbeats.
    pub fn new(beats: usize) -> Self {
        Self { replies: vec![None; beats], failed: Vec::new(), failure: None }
    }

    /// Records the reply to one heartbeat.
    pub fn answered(&mut self, beat: usize, reply: Stamped<HeartbeatReply>) {
        self.replies[beat] = Some(reply);
    }

    /// Records that one part of the batch failed.
    pub fn failed(&mut self, part: impl IntoIterator<Item = usize>, error: StoreError) {
        self.failed.extend(part);
        match &self.failure {
            Some(first) if error.applied() == Applied::No || first.applied() == Applied::Ambiguous => {}
            _ => self.failure = Some(error),
        }
    }

    /// Returns the replies in the order of the heartbeats. If some were answered, those that are proven not to have
    /// been carried out are [`Unknown`](HeartbeatReply::Unknown). **Errors:** the error of the parts if no heartbeat
    /// was answered, or if any part may have been carried out without a reply. A heartbeat for which neither a reply
    /// nor a failure was recorded is a [`BrokenStore`](ErrorKind::BrokenStore) error.
    pub fn finish(mut self) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        let any = self.replies.iter().any(Option::is_some);
        if let Some(failure) = self.failure {
            match (any, failure.applied()) {
                (false, _) | (_, Applied::Ambiguous) => return Err(failure),
                (true, Applied::No) => {}
            }
        }
        for beat in self.failed {
            let unknown = Stamped { reply: HeartbeatReply::Unknown, stamp: Stamp::unseen(StoreTime::ZERO) };
            self.replies[beat].get_or_insert(unknown);
        }
        let missing = || StoreError::ambiguous(ErrorKind::BrokenStore, "a heartbeat was left out");
        self.replies.into_iter().map(|reply| reply.ok_or_else(missing)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Stamped<HeartbeatReply> {
        let reply = HeartbeatReply::Kept { lease_until: StoreTime::ZERO };
        Stamped { reply, stamp: Stamp::unseen(StoreTime::ZERO) }
    }

    fn replies(gathered: GatheredBeats) -> Result<Vec<HeartbeatReply>, Applied> {
        let replies = gathered.finish().map_err(|error| error.applied())?;
        Ok(replies.into_iter().map(|stamped| stamped.reply).collect())
    }

    fn not_sent() -> StoreError {
        StoreError::not_applied(ErrorKind::Unreachable, "not sent")
    }

    fn lost() -> StoreError {
        StoreError::ambiguous(ErrorKind::LostReply, "lost")
    }

    #[test]
    fn a_part_that_was_not_sent_does_not_change_the_replies_to_the_others() {
        let mut gathered = GatheredBeats::new(3);
        gathered.answered(1, kept());
        gathered.failed([0, 2], not_sent());
        assert_eq!(
            replies(gathered).unwrap(),
            [HeartbeatReply::Unknown, kept().reply, HeartbeatReply::Unknown]
        );
    }

    #[test]
    fn a_batch_is_not_applied_only_if_no_part_was() {
        let mut none = GatheredBeats::new(2);
        none.failed([0], not_sent());
        none.failed([1], not_sent());
        assert_eq!(replies(none), Err(Applied::No));
        for order in [[not_sent(), lost()], [lost(), not_sent()]] {
            let mut unanswered = GatheredBeats::new(3);
            unanswered.answered(0, kept());
            order.into_iter().enumerate().for_each(|(n, error)| unanswered.failed([n + 1], error));
            assert_eq!(replies(unanswered), Err(Applied::Ambiguous));
        }
    }

    #[test]
    fn a_beat_without_a_reply_or_a_failure_is_an_error() {
        let mut gathered = GatheredBeats::new(2);
        gathered.answered(0, kept());
        assert_eq!(replies(gathered), Err(Applied::Ambiguous));
    }
}
