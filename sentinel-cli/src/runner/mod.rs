//! Runs a command in its own process group under an authority that ends: signals are forwarded, the output is recorded,
//! and nothing of the group is left when the authority is over.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;

mod group;
mod guard;
pub(crate) mod hidden;
mod process;
mod shim;
mod signals;
mod spawn;
mod tee;
mod terminal;

use group::Group;
use spawn::{Event, Spawned};
use tee::Tee;
use terminal::Terminal;

pub(crate) use signals::Signals;
pub(crate) use tee::{Flush, Recording};

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// The command and its arguments.
    pub(crate) command: Vec<OsString>,
    /// Added to our own environment.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Record the output; otherwise the command writes to ours directly.
    pub(crate) record: bool,
}

/// How long the command may run.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    /// Fires when the authority is lost.
    pub(crate) lost: CancellationToken,
    /// Nothing of the group is left at this instant.
    pub(crate) hard: Instant,
    /// So long before it the command is asked to end.
    pub(crate) notice: Duration,
}

impl Authority {
    /// Notice is given 10 s before the hard deadline, or half of the hard ttl if that is less.
    pub(crate) fn new(lost: CancellationToken, remaining: Duration, hard_ttl: Duration) -> Self {
        let notice = Duration::from_secs(10).min(hard_ttl / 2);
        Self { lost, hard: Instant::now() + remaining, notice }
    }

    /// Whether it is lost, or over.
    pub(crate) fn is_over(&self) -> bool {
        self.lost.is_cancelled() || Instant::now() >= self.hard
    }
}

/// How the command's first process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// The system did not tell.
    Unknown,
}

/// A command that has run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) ended: Ended,
    /// The output, if it was to be recorded and the end asks for it.
    pub(crate) recording: Option<Recording>,
    /// What is still being written to our output.
    pub(crate) flush: Option<Flush>,
    /// The authority ended before the command did.
    pub(crate) lost: bool,
}

/// A command that has not run at all.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// It could not be executed: 126 or 127, and why.
    CannotExecute(Exit, String),
    /// A signal asked to end before it had started.
    Signalled(i32),
    /// The authority was over before it had started.
    TooLate,
}

/// Runs the command. `settles` says of an end that it leaves no doubt and no freed key behind: processes of the group that
/// are left in the background may then stay. Otherwise they are ended before this returns, as somebody else may run next.
pub(crate) async fn run(
    job: Job,
    authority: Authority,
    signals: &Signals,
    settles: impl Fn(Ended) -> bool,
) -> Result<Ran, NotStarted> {
    may_start(&authority, signals)?;
    let cannot = |error: io::Error| NotStarted::CannotExecute(Exit::CANNOT_EXECUTE, error.to_string());
    let remaining = authority.hard.saturating_duration_since(Instant::now());
    let spawned = spawn::spawn(job, remaining).await.map_err(cannot)?;
    let Spawned { leader, socket, stdout, guard, mut events } = spawned;
    // From here on an early return drops the guard and the socket: the process ends without having run anything.
    let terminal = Terminal::hand_to(leader);
    let tee = stdout.map(Tee::start).transpose().map_err(cannot)?;
    may_start(&authority, signals)?;
    shim::go(&socket).map_err(cannot)?;
    let started = tokio::task::spawn_blocking(move || shim::started(socket)).await;
    started
        .unwrap_or_else(|error| Err((Exit::CANNOT_EXECUTE, error.to_string())))
        .map_err(|(exit, why)| NotStarted::CannotExecute(exit, why))?;

    let mut group = Group::new(leader, authority, signals);
    let (ended, mut child) = group.watch_while(end_of(&mut events, terminal.as_ref())).await;
    drop(terminal);
    let settled = settles(ended);
    let (mut recording, mut flush) = (None, None);
    if let Some(tee) = tee {
        let (ready, writing) = tee.end();
        flush = Some(writing);
        if settled {
            recording = Some(group.watch_while(ready).await);
        }
    }
    // Waited for only now: until then the number of the group could name nothing else.
    let _ = child.wait();
    if !settled || group.is_ending() {
        group.end_what_is_left().await;
    }
    guard.done();
    Ok(Ran { ended, recording, flush, lost: group.is_ending_for_good() })
}

fn may_start(authority: &Authority, signals: &Signals) -> Result<(), NotStarted> {
    match signals.pending() {
        Some(number) => Err(NotStarted::Signalled(number)),
        None if authority.is_over() => Err(NotStarted::TooLate),
        None => Ok(()),
    }
}

async fn end_of(
    events: &mut tokio::sync::mpsc::UnboundedReceiver<Event>,
    terminal: Option<&Terminal>,
) -> (Ended, std::process::Child) {
    loop {
        match events.recv().await {
            Some(Event::Ended(ended, child)) => return (ended, child),
            Some(Event::Stopped) => {
                if let Some(terminal) = terminal {
                    terminal.stop_together();
                }
            }
            // The thread reports an end before it goes.
            None => std::future::pending().await,
        }
    }
}
