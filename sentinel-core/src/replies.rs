//! Replies to operators as sentences.

use std::fmt;

use crate::operation::{Current, EvictReply, ReconcileReply};

impl fmt::Display for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with token {}", self.state, self.token)
    }
}

impl fmt::Display for ReconcileReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { token, .. } => write!(f, "the key is taken, under token {token}"),
            Self::StaleDecision(now) => {
                write!(f, "nothing was changed: the record has changed, and is {now}; read it again")
            }
            Self::HeldBy { operator, since, .. } => {
                write!(f, "nothing was changed: {operator} has been deciding about the key since {since}")
            }
            Self::StillAlive { until } => write!(
                f,
                "nothing was changed: the run is alive, and its lease lasts until {until} by the store's clock"
            ),
            Self::AlreadyCompleted => {
                f.write_str("nothing was changed: the run is completed, and its result is final")
            }
            Self::NotExecuting(now) => {
                write!(f, "there is nothing to decide: the record is {now}, and nothing began")
            }
        }
    }
}

impl fmt::Display for EvictReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evicted { token } => write!(f, "the key is free, under token {token}"),
            Self::StaleDecision(now) => {
                write!(f, "nothing was changed: the record has changed, and is {now}; read it again")
            }
            Self::Executing => {
                f.write_str("nothing was changed: the execution has begun; reconcile it instead")
            }
            Self::NotClaimed(now) => write!(f, "there is nothing to free: the record is {now}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::operation::{Current, EvictReply, ReconcileReply};
    use crate::{Label, OpId, State, StoreTime, Token};

    #[test]
    fn each_reply_to_an_operator_is_a_sentence() {
        let token = Token::from_stored(7);
        let now = Current { state: State::Completed, token };
        let at = StoreTime::from_micros(3_000_000);
        let operator = Label::lossy("ada");
        let taken =
            ReconcileReply::Taken { token, since: at, effects_until: at, begun_at: None, worker: None };
        let replies = [
            (taken.to_string(), "the key is taken, under token 7"),
            (
                ReconcileReply::StaleDecision(now).to_string(),
                "nothing was changed: the record has changed, and is completed with token 7; read it again",
            ),
            (
                ReconcileReply::HeldBy { op_id: OpId::from_bits(1), operator, since: at }.to_string(),
                "nothing was changed: ada has been deciding about the key since 1970-01-01 00:00:03.000000 UTC",
            ),
            (
                ReconcileReply::StillAlive { until: at }.to_string(),
                "nothing was changed: the run is alive, and its lease lasts until 1970-01-01 00:00:03.000000 UTC by \
                 the store's clock",
            ),
            (
                ReconcileReply::AlreadyCompleted.to_string(),
                "nothing was changed: the run is completed, and its result is final",
            ),
            (
                ReconcileReply::NotExecuting(now).to_string(),
                "there is nothing to decide: the record is completed with token 7, and nothing began",
            ),
            (EvictReply::Evicted { token }.to_string(), "the key is free, under token 7"),
            (
                EvictReply::StaleDecision(now).to_string(),
                "nothing was changed: the record has changed, and is completed with token 7; read it again",
            ),
            (
                EvictReply::Executing.to_string(),
                "nothing was changed: the execution has begun; reconcile it instead",
            ),
            (
                EvictReply::NotClaimed(now).to_string(),
                "there is nothing to free: the record is completed with token 7",
            ),
        ];
        for (text, sentence) in replies {
            assert_eq!(text, sentence);
        }
    }
}
