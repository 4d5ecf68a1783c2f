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
    what: What,
}

enum What {
    Bytes(Vec<u8>),
    /// The sender has said that it sends no more.
    End,
    /// The sender has gone.
    Reset(io::Error),
}

/// Carries bytes until their sender ends, and asks before any of them pass whether they are lost, and with them all that
/// follows. An error means that the connection has to be
/// cut.
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
        let what = match from.read(&mut buffer).await {
            Ok(0) => What::End,
            Ok(length) => What::Bytes(buffer[..length].to_vec()),
            Err(error) => What::Reset(error),
        };
        let last = !matches!(what, What::Bytes(_));
        if let What::Bytes(bytes) = &what {
            direction.count_taken(bytes.len());
        }
        // Nobody waits for it any more: the connection is being cut.
        if queue.send(Piece { at: Instant::now(), what }).await.is_err() || last {
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
        match piece.what {
            What::Bytes(bytes) if !passes(&mut flow, piece.at, true).await => {
                direction.count_swallowed(bytes.len())
            }
            What::Bytes(bytes) if silent || passing() => {
                silent = true;
                direction.count_swallowed(bytes.len());
            }
            What::Bytes(bytes) => {
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
            // Nobody hears of it before the connection is cut.
            What::End | What::Reset(_) if silent => std::future::pending().await,
            What::End => {
                passes(&mut flow, piece.at, false).await;
                to.shutdown().await?;
            }
            What::Reset(error) => {
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
        // Marked as seen in the same breath: a change from now on is not missed.
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
