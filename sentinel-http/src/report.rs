//! A problem document about one request.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use sentinel_client::sentinel_core::{StoreTime, Token};
use serde_json::{Map, Value};

use crate::body::Body;
use crate::problem::{Problem, Ran};

/// The response field with the id that support can search for.
pub(crate) const SUPPORT: HeaderName = HeaderName::from_static("sentinel-support");

/// A problem with what is known about this request. It names no key, scope, worker or operator, and no error of a
/// store.
#[derive(Debug)]
pub(crate) struct Report {
    problem: Problem,
    detail: Cow<'static, str>,
    support: Option<Token>,
    original: Option<Original>,
}

/// What is known of the answer that was not kept.
#[derive(Debug)]
pub(crate) struct Original {
    pub(crate) status: StatusCode,
    pub(crate) location: Option<HeaderValue>,
}

impl Report {
    pub(crate) fn new(problem: Problem, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { problem, detail: detail.into(), support: None, original: None }
    }

    /// With the token in question, by which support finds the record.
    pub(crate) fn support(self, token: Token) -> Self {
        Self { support: Some(token), ..self }
    }

    pub(crate) fn original(self, original: Original) -> Self {
        Self { original: Some(original), ..self }
    }

    /// The response. `status` is the problem's, unless the route maps it to another one.
    pub(crate) fn response(self, status: StatusCode, help: Option<&HeaderValue>) -> Response<Body> {
        let body = serde_json::to_vec(&Value::Object(self.members(status))).unwrap_or_default();
        let mut response = Response::new(Body::from(bytes::Bytes::from(body)));
        *response.status_mut() = status;
        response.extensions_mut().insert(self.problem);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.problem.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
        }
        if let Some(token) = self.support {
            insert_support(headers, token);
        }
        if let Some(location) = self.original.and_then(|original| original.location) {
            headers.insert(header::LOCATION, location);
        }
        if let Some(help) = help {
            headers.insert(header::LINK, help.clone());
        }
        response
    }

    fn members(&self, status: StatusCode) -> Map<String, Value> {
        let mut members = Map::new();
        let mut add = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
        add("type", self.problem.kind().into());
        add("title", self.problem.title().into());
        add("status", status.as_u16().into());
        add("detail", self.detail.as_ref().into());
        if let Some(token) = self.support {
            add("support_id", support_id(token).into());
        }
        add("ran", self.ran().as_str().into());
        add("retry", self.problem.retry().as_str().into());
        if let Some(after) = self.problem.retry_after() {
            add("retry_after_seconds", after.as_secs().into());
        }
        if let Some(original) = &self.original {
            add("original_status", original.status.as_u16().into());
        }
        members
    }

    /// An answer that was not kept may have been a refusal: with a status of 4xx the effect need not have taken place.
    fn ran(&self) -> Ran {
        match &self.original {
            Some(original) if original.status.is_client_error() => Ran::Unknown,
            _ => self.problem.ran(),
        }
    }
}

/// Adds the support id of a token.
pub(crate) fn insert_support(headers: &mut HeaderMap, token: Token) {
    if let Ok(id) = HeaderValue::from_str(&support_id(token)) {
        headers.insert(SUPPORT, id);
    }
}

/// The token in groups of four digits, as people read it out.
fn support_id(token: Token) -> String {
    let digits = token.get().to_string();
    let groups: Vec<_> = digits.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
    groups.join("-")
}

/// The time of day of an instant, in UTC, to the second.
pub(crate) fn time_of_day(at: StoreTime) -> String {
    let seconds = at.as_micros() / 1_000_000 % 86_400;
    format!("{:02}:{:02}:{:02}Z", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_support_id_is_the_token_in_groups_of_four() {
        assert_eq!(support_id(Token::new(1_795_227_373_939_496).unwrap()), "1795-2273-7393-9496");
        assert_eq!(support_id(Token::new(12_345).unwrap()), "1234-5");
    }

    #[test]
    fn each_problem_has_a_document_with_what_the_caller_can_do() {
        let mut names = std::collections::HashSet::new();
        for problem in Problem::ALL {
            let report = Report::new(problem, "why");
            let members = report.members(problem.status());
            assert!(names.insert(problem.name()), "{problem:?}");
            assert_eq!(members["type"], format!("{}{}", PROBLEMS, problem.name()));
            assert_eq!(members["status"], problem.status().as_u16());
            assert!(["no", "yes", "unknown"].contains(&members["ran"].as_str().unwrap()));
            let answer = report.response(problem.status(), None);
            assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json");
            assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
            let after = problem.retry_after().map(|after| after.as_secs().to_string());
            let sent =
                answer.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(sent, after);
        }
    }

    const PROBLEMS: &str = "https://github.com/sentinel-rs/sentinel/blob/main/docs/problems.md#";

    #[test]
    fn an_answer_of_4xx_that_was_not_kept_does_not_prove_an_effect() {
        let of = |status: u16| {
            let original = Original { status: StatusCode::from_u16(status).unwrap(), location: None };
            Report::new(Problem::ResultNotStored, "").original(original).ran()
        };
        assert_eq!((of(201), of(402)), (Ran::Yes, Ran::Unknown));
    }
}
