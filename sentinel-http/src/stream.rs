//! The body of a handler's response: it is read whole before the caller gets it, or passed on while it is read.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::body::{Body, BoxError};

/// How long a body may take before the caller gets it while it is still being read.
const WHOLE_WITHIN: Duration = Duration::from_secs(2);

/// How long a caller may leave a part of a body unread before it counts as gone.
const LONGEST_STALL: Duration = Duration::from_secs(30);

/// A body that has ended.
pub(crate) struct Captured {
    /// Its bytes; None: they are more than the limit.
    pub(crate) bytes: Option<Bytes>,
    /// Its trailers.
    pub(crate) trailers: Option<HeaderMap>,
    /// The error that ended it.
    pub(crate) broken: Option<BoxError>,
    /// Whether the caller received it while it was read.
    pub(crate) streamed: bool,
}

/// How a body is read.
pub(crate) struct Capture<F> {
    /// The largest number of bytes to keep.
    pub(crate) limit: usize,
    /// Whether the caller receives it from its first byte on.
    pub(crate) at_once: bool,
    /// Called at most once, with the body for the caller, when it is passed on while it is read.
    pub(crate) hand_over: F,
}

impl<F: FnOnce(Body)> Capture<F> {
    /// Reads a body to its end, also if the caller goes away.
    pub(crate) async fn read(self, mut body: Body) -> Captured {
        let mut kept = Kept { limit: self.limit, frames: VecDeque::new(), length: 0, is_over: false };
        let mut caller = Caller::Waits(self.hand_over);
        let mut trailers = None;
        let deadline = Instant::now() + WHOLE_WITHIN;
        if self.at_once || body.size_hint().lower() > self.limit as u64 {
            caller = caller.receives(&kept);
        }
        let broken = loop {
            let next = match &caller {
                Caller::Waits(_) => match timeout_at(deadline, body.frame()).await {
                    Ok(next) => next,
                    Err(_) => {
                        caller = caller.receives(&kept);
                        continue;
                    }
                },
                _ => body.frame().await,
            };
            let frame = match next {
                None => break None,
                Some(Err(error)) => break Some(error),
                Some(Ok(frame)) => frame,
            };
            if let Some(fields) = frame.trailers_ref() {
                trailers = Some(fields.clone());
            }
            if let Some(data) = frame.data_ref() {
                kept.add(data.clone());
            }
            caller = match caller {
                Caller::Waits(_) if kept.is_over => caller.receives(&kept),
                caller => caller.passes_on(frame).await,
            };
            kept.forget_if_over();
        };
        let streamed = !matches!(caller, Caller::Waits(_));
        if let Caller::Receives(sender) = caller
            && broken.is_some()
        {
            // The caller must not take a part of the body for the whole.
            let _ = sender.send_timeout(Err("the response's body ended early".into()), LONGEST_STALL).await;
        }
        Captured { bytes: kept.whole(), trailers, broken, streamed }
    }
}

/// The bytes that were read, up to the limit.
struct Kept {
    limit: usize,
    frames: VecDeque<Bytes>,
    length: usize,
    is_over: bool,
}

impl Kept {
    fn add(&mut self, data: Bytes) {
        if !self.is_over {
            self.length = self.length.saturating_add(data.len());
            self.is_over = self.length > self.limit;
            self.frames.push_back(data);
        }
    }

    /// Once the caller has what was kept, there is no reason to keep it.
    fn forget_if_over(&mut self) {
        if self.is_over {
            self.frames = VecDeque::new();
        }
    }

    fn whole(mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        if self.frames.len() == 1 {
            return self.frames.pop_front();
        }
        let mut all = BytesMut::with_capacity(self.length);
        self.frames.iter().for_each(|data| all.extend_from_slice(data));
        Some(all.freeze())
    }
}

/// What the caller has of the body.
enum Caller<F> {
    /// Nothing yet.
    Waits(F),
    /// A body that ends with this channel.
    Receives(mpsc::Sender<Result<Frame<Bytes>, BoxError>>),
    /// It has gone, or stopped reading.
    Gone,
}

impl<F: FnOnce(Body)> Caller<F> {
    /// Gives the caller what was read so far; the rest follows.
    fn receives(self, kept: &Kept) -> Self {
        match self {
            Self::Waits(hand_over) => {
                let (sender, rest) = mpsc::channel(1);
                hand_over(Body::new(Streamed { read: kept.frames.clone(), rest }));
                Self::Receives(sender)
            }
            other => other,
        }
    }

    async fn passes_on(self, frame: Frame<Bytes>) -> Self {
        match self {
            Self::Receives(sender) => match timeout(LONGEST_STALL, sender.send(Ok(frame))).await {
                Ok(Ok(())) => Self::Receives(sender),
                _ => Self::Gone,
            },
            other => other,
        }
    }
}

/// The caller's end of a body that is passed on while it is read.
struct Streamed {
    read: VecDeque<Bytes>,
    rest: mpsc::Receiver<Result<Frame<Bytes>, BoxError>>,
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.read.pop_front() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None => Poll::Ready(ready!(self.rest.poll_recv(cx))),
        }
    }
}
