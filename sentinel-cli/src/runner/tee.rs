//! A command's standard output: copied to this program's standard output, and recorded.

use std::io::{self, ErrorKind, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ChildStdout;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sentinel::record::Payload;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::output;

/// The most that is recorded.
const LIMIT: usize = Payload::DEFAULT_LIMIT;
/// How long a background child may keep the output open after the command has ended.
const LINGER: Duration = Duration::from_secs(1);
const CHUNK: usize = 1 << 16;
/// How many chunks may wait for a slow reader of the output before the command has to wait: four times the recording's
/// limit, so that a slow reader never delays the recording.
const WAITING: usize = 64;

/// The recorded output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Recording {
    /// All of it.
    Whole(Vec<u8>),
    /// The output was larger than the limit.
    TooLarge,
}

/// The two threads behind a command's output.
#[derive(Debug)]
pub(super) struct Tee {
    /// Closed when the command has ended.
    ended: UnixStream,
    recording: oneshot::Receiver<Recording>,
    flush: Flush,
}

/// The output that still has to be written.
#[derive(Debug)]
pub(crate) struct Flush(oneshot::Receiver<io::Result<()>>);

impl Flush {
    /// Waits until everything is written. It is no failure if the reader has closed the pipe.
    pub(crate) async fn written(self) -> io::Result<()> {
        self.0.await.unwrap_or(Ok(()))
    }
}

impl Tee {
    /// Starts to read `output`, and to copy it to this program's output if `is_copied`.
    pub(super) fn start(output: ChildStdout, is_copied: bool) -> io::Result<Self> {
        let (ended, wake) = UnixStream::pair()?;
        let (chunks, waiting) = sync_channel(WAITING);
        let (recorded, recording) = oneshot::channel();
        let (written, flush) = oneshot::channel();
        let reader =
            Reader { output, wake: Some(wake), deadline: None, chunks, tape: Some((Vec::new(), recorded)) };
        std::thread::Builder::new().name("output".to_owned()).spawn(move || reader.run())?;
        // Without a writer the chunks are dropped, and there is nothing to wait for.
        if is_copied {
            std::thread::Builder::new()
                .name("stdout".to_owned())
                .spawn(move || drop(written.send(write_all(&waiting))))?;
        }
        Ok(Self { ended, recording, flush: Flush(flush) })
    }

    /// The command has ended: the recording is ready at the end of the output, or a second later.
    pub(super) fn end(self) -> (impl Future<Output = Recording>, Flush) {
        drop(self.ended);
        // If the reading thread panicked, the recording is not known.
        let recording = async { self.recording.await.unwrap_or(Recording::TooLarge) };
        (recording, self.flush)
    }
}

struct Reader {
    output: ChildStdout,
    wake: Option<UnixStream>,
    deadline: Option<Instant>,
    chunks: SyncSender<Vec<u8>>,
    tape: Option<(Vec<u8>, oneshot::Sender<Recording>)>,
}

impl Reader {
    fn run(mut self) {
        loop {
            if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.read_what_is_there();
                break;
            }
            match self.wait() {
                Ok(true) if self.read(CHUNK).is_ok_and(|count| count > 0) => {}
                Ok(false) => {}
                Ok(true) | Err(_) => break,
            }
        }
        if let Some((bytes, recorded)) = self.tape.take() {
            let _ = recorded.send(Recording::Whole(bytes));
        }
    }

    /// Waits for output, the end of the command, or the deadline; whether there is output, or its end.
    fn wait(&mut self) -> io::Result<bool> {
        let timeout = self.deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() }
        });
        let mut watched = vec![PollFd::new(&self.output, PollFlags::IN)];
        watched.extend(self.wake.as_ref().map(|wake| PollFd::new(wake, PollFlags::IN)));
        match poll(&mut watched, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(false),
            result => result?,
        };
        let has_output = !watched[0].revents().is_empty();
        let has_ended = watched.get(1).is_some_and(|wake| !wake.revents().is_empty());
        if has_ended {
            self.wake = None;
            self.deadline = Some(Instant::now() + LINGER);
        }
        Ok(has_output)
    }

    fn read(&mut self, at_most: usize) -> io::Result<usize> {
        let mut chunk = vec![0; at_most];
        let count = loop {
            match self.output.read(&mut chunk) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        chunk.truncate(count);
        if let Some((mut bytes, recorded)) = self.tape.take() {
            if bytes.len() + count <= LIMIT {
                bytes.extend_from_slice(&chunk);
                self.tape = Some((bytes, recorded));
            } else {
                // The verdict is known now, however long the rest takes.
                let _ = recorded.send(Recording::TooLarge);
            }
        }
        if count > 0 {
            // If the writer has ended, the output is recorded all the same.
            let _ = self.chunks.send(chunk);
        }
        Ok(count)
    }

    /// The time is over: bytes that are already in the pipe still count, later ones do not.
    fn read_what_is_there(&mut self) {
        let there = rustix::io::ioctl_fionread(self.output.as_fd()).unwrap_or(0);
        let mut left = usize::try_from(there).unwrap_or(0);
        while left > 0 {
            match self.read(left.min(CHUNK)) {
                Ok(count) if count > 0 => left -= count,
                _ => return,
            }
        }
    }
}

/// Writes until the output ends. After a failed write the rest is discarded: the command must not wait, and must not be
/// ended by a signal, because its reader is gone.
fn write_all(chunks: &Receiver<Vec<u8>>) -> io::Result<()> {
    let mut result = Ok(());
    for chunk in chunks {
        if result.is_ok() {
            result = output::write_all(io::stdout().lock(), &chunk);
        }
    }
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
