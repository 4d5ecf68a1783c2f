//! Requests that a run sends.

use reqwest_middleware::RequestBuilder;
use sentinel_client::Run;

use super::redirects::may_follow;

/// What a request was given for the middleware.
#[derive(Debug, Clone)]
pub(super) struct Sending {
    pub(super) run: Run,
    pub(super) label: String,
    pub(super) may_follow_redirects: bool,
}

/// Adds a run to a request.
pub trait WithRun: Sized {
    /// Sends the request for this run. The client must have [`SentinelHeaders`](super::SentinelHeaders) among its
    /// middleware, which sends the headers.
    ///
    /// The label names the request within the run, such as `book`: requests with one label are tries of one request and
    /// have one key, and another label is another request.
    #[must_use]
    fn with_run(self, run: &Run, label: impl AsRef<str>) -> Self;
}

impl WithRun for RequestBuilder {
    fn with_run(self, run: &Run, label: impl AsRef<str>) -> Self {
        let (builder, may_follow_redirects) = may_follow(self);
        let label = label.as_ref().to_owned();
        builder.with_extension(Sending { run: run.clone(), label, may_follow_redirects })
    }
}
