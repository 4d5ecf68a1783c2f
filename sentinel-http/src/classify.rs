//! What a response means for the key.

use http::StatusCode;

use crate::vouch::Vouched;

/// How a handler ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// It is recorded as a success.
    Success,
    /// It is recorded as a failure.
    FailedForGood,
    /// Nothing is recorded, and the key is free.
    NothingHappened,
    /// The outcome is not known.
    Uncertain,
}

/// Statuses by which the route states something else than this crate would take them for.
#[derive(Debug, Clone, Default)]
pub(crate) struct StatusRules {
    pub(crate) nothing_happened: Vec<StatusCode>,
    pub(crate) failed_for_good: Vec<StatusCode>,
}

impl StatusRules {
    /// What a complete response means. What the handler vouches for wins over its status.
    pub(crate) fn class(&self, status: StatusCode, vouched: Vouched) -> Class {
        match vouched {
            Vouched::NothingHappened => Class::NothingHappened,
            Vouched::FailedForGood => Class::FailedForGood,
            Vouched::Happened => Class::Success,
            Vouched::Contradiction => Class::Uncertain,
            Vouched::Nothing => self.by_status(status),
        }
    }

    fn by_status(&self, status: StatusCode) -> Class {
        match (self.nothing_happened.contains(&status), self.failed_for_good.contains(&status)) {
            (true, false) => return Class::NothingHappened,
            (false, true) => return Class::FailedForGood,
            (true, true) => return Class::Uncertain,
            (false, false) => {}
        }
        match status {
            // Clients and proxies read these as "send it again", and a handler that passes on its provider's 429 may
            // have done a part of its work.
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                Class::Uncertain
            }
            _ if status.is_success() || status.is_redirection() => Class::Success,
            // A replay causes no second run, and the same request gets the same answer.
            _ if status.is_client_error() => Class::FailedForGood,
            // 5xx: exactly the case that cannot be judged. 1xx and 600 and above have no meaning here.
            _ => Class::Uncertain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_one_meaning() {
        let rules = StatusRules::default();
        for code in 100..1000u16 {
            let expected = match code {
                200..=399 => Class::Success,
                408 | 425 | 429 => Class::Uncertain,
                400..=499 => Class::FailedForGood,
                _ => Class::Uncertain,
            };
            let status = StatusCode::from_u16(code).unwrap();
            assert_eq!(rules.class(status, Vouched::Nothing), expected, "{code}");
        }
    }

    #[test]
    fn what_a_handler_vouches_for_wins_over_its_status_and_a_contradiction_is_uncertain() {
        let rules = StatusRules {
            nothing_happened: vec![StatusCode::TOO_MANY_REQUESTS, StatusCode::CONFLICT],
            failed_for_good: vec![StatusCode::CONFLICT, StatusCode::BAD_GATEWAY],
        };
        for (status, vouched, expected) in [
            (StatusCode::OK, Vouched::NothingHappened, Class::NothingHappened),
            (StatusCode::OK, Vouched::FailedForGood, Class::FailedForGood),
            (StatusCode::BAD_GATEWAY, Vouched::Happened, Class::Success),
            (StatusCode::OK, Vouched::Contradiction, Class::Uncertain),
            (StatusCode::TOO_MANY_REQUESTS, Vouched::Nothing, Class::NothingHappened),
            (StatusCode::BAD_GATEWAY, Vouched::Nothing, Class::FailedForGood),
            (StatusCode::CONFLICT, Vouched::Nothing, Class::Uncertain),
        ] {
            assert_eq!(rules.class(status, vouched), expected, "{status} {vouched:?}");
        }
    }
}
