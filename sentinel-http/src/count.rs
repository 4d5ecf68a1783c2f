//! The counter of requests with a key.

use http::Response;
use metrics::counter;

use crate::problem::Problem;
use crate::response::IDEMPOTENCY_REPLAYED;

/// How a response is counted, if not by its problem. An extension of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted(pub(crate) &'static str);

/// Counts the response to a request with a key.
pub(crate) fn count<B>(route: String, response: &Response<B>) {
    if let Some(answer) = answer(response) {
        counter!("sentinel_http_idempotency_total", "route" => route, "answer" => answer).increment(1);
    }
}

fn answer<B>(response: &Response<B>) -> Option<&'static str> {
    if let Some(Counted(answer)) = response.extensions().get() {
        return Some(answer);
    }
    match response.extensions().get::<Problem>() {
        Some(problem) => problem.counted(),
        None if response.headers().contains_key(IDEMPOTENCY_REPLAYED) => Some("replayed"),
        None => Some("fresh"),
    }
}
