//! One direction of one connection.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::flow::{Direction, Flow};

/// How many bytes are read at once, and how many such pieces wait at most.
const PIECE: usize = 16 * 1024;
const PIECES: usize = 16;

/// What was read, and when.
struct Piece {
    at: Instant,
    content: Content,
}

enum Content {
    Bytes(Vec<u8>),
    /// The sender has closed its side.
    End,
    /// The sender has gone.
    Reset(io::Error),
}

/// Carries bytes until their sender ends, and asks before any of them pass whether they are lost, and with them all
/// that follows. An error means that the connection has to be cut.
pub(super) async fn pump(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    direction: &Direction,
    passing: impl Fn() -> bool,
) -> io::Result<()> {
    // Reading goes on while bytes are delayed, or a delay would be one for each piece, not one for all of them.
    let (queue, waiting) = mpsc::channel(PIECES);
    // The first failure ends both: what is to be cut is not read to its end.
    tokio::try_join!(take(from, queue, direction), give(waiting, to, direction, passing))?;
    Ok(())
}

async fn take(mut from: ReadHalf<'_>, queue: mpsc::Sender<Piece>, direction: &Direction) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        let content = match from.read(&mut buffer).await {
            Ok(0) => Content::End,
            Ok(length) => Content::Bytes(buffer[..length].to_vec()),
            Err(error) => Content::Reset(error),
        };
        let last = !matches!(content, Content::Bytes(_));
        if let Content::Bytes(bytes) = &content {
            direction.count_taken(bytes.len());
        }
        // The receiver is gone: the connection is being cut.
        if queue.send(Piece { at: Instant::now(), content }).await.is_err() || last {
            return Ok(());
        }
    }
}

async fn give(
    mut waiting: mpsc::Receiver<Piece>,
    mut to: WriteHalf<'_>,
    direction: &Direction,
    passing: impl Fn() -> bool,
) -> io::Result<()> {
    let mut flow = direction.flow();
    let mut silent = false;
    while let Some(piece) = waiting.recv().await {
        match piece.content {
            Content::Bytes(bytes) if !passes(&mut flow, piece.at, true).await => {
                direction.count_swallowed(bytes.len())
            }
            Content::Bytes(bytes) if silent || passing() => {
                silent = true;
                direction.count_swallowed(bytes.len());
            }
            Content::Bytes(bytes) => {
                let (allowed, cut) = direction.allow(bytes.len());
                for piece in bytes[..allowed].chunks(direction.piece()) {
                    to.write_all(piece).await?;
                    direction.count_passed(piece.len());
                    // The next is another packet.
                    tokio::task::yield_now().await;
                }
                if cut {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
            }
            // The receiver sees no end before the connection is cut.
            Content::End | Content::Reset(_) if silent => std::future::pending().await,
            Content::End => {
                passes(&mut flow, piece.at, false).await;
                to.shutdown().await?;
            }
            Content::Reset(error) => {
                passes(&mut flow, piece.at, false).await;
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Waits until a piece may pass; false: it is lost. What cannot be lost waits instead.
async fn passes(flow: &mut watch::Receiver<Flow>, at: Instant, can_be_lost: bool) -> bool {
    loop {
        // Marked as seen at the same time: a later change is not missed.
        let now = *flow.borrow_and_update();
        // The sender of changes is the proxy's own: it outlives its connections.
        match now {
            Flow::Pass => return true,
            Flow::Swallow if can_be_lost => return false,
            Flow::Hold | Flow::Swallow => drop(flow.changed().await),
            Flow::Delay(by) => tokio::select! {
                () = sleep_until(at + by) => return true,
                _ = flow.changed() => {}
            },
        }
    }
}
