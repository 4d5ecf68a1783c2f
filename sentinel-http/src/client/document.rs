//! Problem documents in answers: what a service states about the effect of a request.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use reqwest::{Body, Response, ResponseBuilderExt as _};
use serde::Deserialize;
use tokio::time::timeout;

use crate::problem::Ran;

/// The largest document that is read, in bytes.
const MAX_BYTES: usize = 64 << 10;

/// How long a document may take to arrive.
const WITHIN: Duration = Duration::from_secs(5);

/// What an answer states about the effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stated {
    /// It is no problem document, or one without the member `ran`.
    Nothing,
    Ran(Ran),
    /// A problem document that could not be read. It may state anything.
    Unreadable,
}

/// The member that counts. A document in which it is there twice is not read.
#[derive(Deserialize)]
struct Members {
    ran: Option<String>,
}

/// Reads the problem document of an answer, and returns the answer as it was.
pub(super) async fn read_document(response: Response) -> (Response, Stated) {
    if !is_problem(response.headers()) {
        return (response, Stated::Nothing);
    }
    let url = response.url().clone();
    let (parts, body) = http::Response::<Body>::from(response).into_parts();
    let mut read = Read { frames: VecDeque::new(), size: 0, rest: Some(body) };
    let is_whole = timeout(WITHIN, read.fill()).await.unwrap_or(false);
    let stated = if is_whole { stated(&read.bytes()) } else { Stated::Unreadable };
    let mut answer = http::Response::builder().status(parts.status).version(parts.version).url(url);
    if let Some(headers) = answer.headers_mut() {
        *headers = parts.headers;
    }
    if let Some(extensions) = answer.extensions_mut() {
        extensions.extend(parts.extensions);
    }
    let answer = answer.body(Body::wrap(read)).unwrap_or_else(|_| unreachable!("all parts are of an answer"));
    (answer.into(), stated)
}

fn is_problem(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/problem+json")
}

fn stated(document: &[u8]) -> Stated {
    match serde_json::from_slice::<Members>(document) {
        Ok(Members { ran: None }) => Stated::Nothing,
        Ok(Members { ran: Some(ran) }) => match ran.as_str() {
            "no" => Stated::Ran(Ran::No),
            "yes" => Stated::Ran(Ran::Yes),
            "unknown" => Stated::Ran(Ran::Unknown),
            _ => Stated::Unreadable,
        },
        Err(_) => Stated::Unreadable,
    }
}

/// A body of which a part has been read. Its reader gets all of it.
struct Read {
    frames: VecDeque<Result<Frame<Bytes>, reqwest::Error>>,
    size: usize,
    rest: Option<Body>,
}

impl Read {
    /// Reads to the end. False: it is too large, or it broke.
    async fn fill(&mut self) -> bool {
        while let Some(body) = &mut self.rest {
            let Some(frame) = body.frame().await else {
                self.rest = None;
                break;
            };
            self.size += frame.as_ref().ok().and_then(Frame::data_ref).map_or(0, Bytes::len);
            let is_broken = frame.is_err();
            self.frames.push_back(frame);
            if is_broken {
                self.rest = None;
                return false;
            }
            if self.size > MAX_BYTES {
                return false;
            }
        }
        true
    }

    fn bytes(&self) -> Bytes {
        let data = self.frames.iter().filter_map(|frame| frame.as_ref().ok()?.data_ref());
        data.fold(BytesMut::with_capacity(self.size), |mut all, data| {
            all.extend_from_slice(data);
            all
        })
        .freeze()
    }
}

impl HttpBody for Read {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        if let Some(frame) = self.frames.pop_front() {
            return Poll::Ready(Some(frame));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.rest.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let data = self.frames.iter().filter_map(|frame| frame.as_ref().ok()?.data_ref());
        let read = data.map(|data| data.len() as u64).sum::<u64>();
        let rest = self.rest.as_ref().map(HttpBody::size_hint).unwrap_or_else(|| SizeHint::with_exact(0));
        let mut size = SizeHint::new();
        size.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper() {
            size.set_upper(upper.saturating_add(read));
        }
        size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_states_one_of_three_or_nothing() {
        assert_eq!(stated(br#"{"ran":"no"}"#), Stated::Ran(Ran::No));
        assert_eq!(stated(br#"{"type":"x","ran":"yes","n":[1]}"#), Stated::Ran(Ran::Yes));
        assert_eq!(stated(br#"{"ran":"unknown"}"#), Stated::Ran(Ran::Unknown));
        assert_eq!(stated(br#"{"title":"Out of credit"}"#), Stated::Nothing);
        assert_eq!(stated(br#"{"detail":"{\"ran\":\"no\"}"}"#), Stated::Nothing);
        for unreadable in [
            &br#"{"ran":"maybe"}"#[..],
            br#"{"ran":"no","ran":"unknown"}"#,
            br#"{"ran":true}"#,
            br#"{"ran":"no""#,
            br#"{"ran":"no"} x"#,
            b"",
            b"<html>",
            b"[]",
        ] {
            assert_eq!(stated(unreadable), Stated::Unreadable, "{}", String::from_utf8_lossy(unreadable));
        }
    }
}
