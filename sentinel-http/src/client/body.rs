//! The body of a request: whether it was asked for, and so whether the request may have been sent.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use reqwest::Body;

/// Whether a body was asked for its first frame.
#[derive(Debug, Clone, Default)]
pub(super) struct IsRead(Arc<AtomicBool>);

impl IsRead {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A body that is a stream for `reqwest`. So no policy of the client sends it a second time: it has no copy.
struct Watched {
    inner: Body,
    is_read: IsRead,
}

/// Replaces the body of a request by one that is watched.
pub(super) fn watch(body: &mut Option<Body>) -> IsRead {
    let is_read = IsRead::default();
    let inner = body.take().unwrap_or_default();
    *body = Some(Body::wrap(Watched { inner, is_read: is_read.clone() }));
    is_read
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        self.is_read.set();
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    /// A connection asks this before it writes the head of the request, because the head depends on it.
    fn is_end_stream(&self) -> bool {
        self.is_read.set();
        self.inner.is_end_stream()
    }

    /// Is asked before there is a connection, too.
    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
