//! What the receiver of a fence knows.

use http::Response;
use sentinel_client::FenceValues;
use sentinel_client::sentinel_core::{Address, Token};

use crate::body::Body;
use crate::problem::Problem;
use crate::report::Report;

/// A fence that was verified: which run or lease sent the request, and the token that it holds.
/// [`FenceVerifier`](super::FenceVerifier) puts it into the extensions of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VerifiedFence {
    /// The address of the run or lease.
    pub address: Address,
    /// Its token: compare it with the highest token seen for this address, in the transaction of the write.
    pub token: Token,
}

impl VerifiedFence {
    /// Both columns of a fenced write: the token, and the address as `namespace/kind/key`.
    pub fn values(&self) -> FenceValues {
        let Address { namespace, kind, key } = &self.address;
        // No token is above 2^53-1.
        let token = i64::try_from(self.token.get()).unwrap_or(i64::MAX);
        FenceValues { token, address: format!("{namespace}/{kind}/{key}") }
    }

    /// The answer to a request whose write the fenced table refused, because a higher token was there: 412
    /// `stale-fence`.
    pub fn stale(&self) -> Response<Body> {
        refusal(Problem::StaleFence)
    }
}

/// The answer to a request without a valid fence.
pub(super) fn refusal(problem: Problem) -> Response<Body> {
    let detail = match problem {
        Problem::FenceMissing => "This route requires the field Sentinel-Fence. Nothing ran.",
        Problem::StaleFence => {
            "A run with a higher token was seen for the same work. This request was not passed on."
        }
        _ => {
            "The field Sentinel-Fence is malformed, has expired, or is not signed for this service with a key that it \
             knows. This request was not passed on."
        }
    };
    Report::new(problem, detail).response(problem.status(), None)
}
