//! Bodies: the one type that this crate hands to services and to callers, and the reading of a request's body.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, LengthLimitError};
use tokio::time::timeout;

/// The error of a body or of a service.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A body, of a request that the layer passes on and of a response that it returns.
pub struct Body(UnsyncBoxBody<Bytes, BoxError>);

impl Body {
    /// A body of this type from any other.
    pub fn new<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(body.map_err(Into::into).boxed_unsync())
    }

    /// A body without bytes.
    pub fn empty() -> Self {
        Self::new(Empty::new())
    }

    /// Bytes, and the trailers that follow them.
    pub(crate) fn whole(bytes: Bytes, trailers: Option<HeaderMap>) -> Self {
        match trailers {
            None if bytes.is_empty() => Self::empty(),
            None => Self::new(Full::new(bytes)),
            Some(trailers) => Self::new(Full::new(bytes).with_trailers(async move { Some(Ok(trailers)) })),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("size", &self.0.size_hint()).finish_non_exhaustive()
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::whole(bytes, None)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::whole(text.into(), None)
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Why a request's body was not read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It is larger than the limit.
    TooLarge,
    /// It did not end in time, or its connection failed.
    TooSlow,
}

/// How many bytes to reserve for a body: its length if it is known, and otherwise the limit. None: it is larger.
pub(crate) fn to_reserve(body: &Body, limit: usize) -> Option<usize> {
    let size = body.size_hint();
    let fits = usize::try_from(size.lower()).is_ok_and(|least| least <= limit);
    fits.then(|| size.upper().map_or(limit, |most| usize::try_from(most).unwrap_or(limit).min(limit)))
}

/// Reads a request's body, and drops its trailers.
pub(crate) async fn read<B>(body: B, limit: usize, within: Duration) -> Result<Bytes, Unread>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    timeout(within, read_up_to(body, limit)).await.unwrap_or(Err(Unread::TooSlow))
}

async fn read_up_to<B>(body: B, limit: usize) -> Result<Bytes, Unread>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut body = std::pin::pin!(body);
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(unread)?.into_data() else { continue };
        if data.len() > limit - (first.len() + all.len()) {
            return Err(Unread::TooLarge);
        }
        // A body of one frame, which most are, is not copied.
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if !first.is_empty() {
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// A limit that a layer outside of this one has set is a limit, too.
fn unread(error: impl Into<BoxError>) -> Unread {
    let error = error.into();
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&*error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return Unread::TooLarge;
        }
        cause = error.source();
    }
    Unread::TooSlow
}
