//! Runs a command in its own process group under an authority that ends: signals are forwarded, the output is recorded,
//! and nothing of the group is left when the authority is over.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;

mod group;
mod guard;
pub(crate) mod hidden;
pub(crate) mod inherited;
mod process;
mod shim;
mod signals;
mod spawn;
mod tee;
mod terminal;

use group::Group;
use guard::Watchman;
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

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => write!(f, "killed by signal {number}"),
            Self::Unknown => f.write_str("its end is unknown"),
        }
    }
}

/// Why a command was asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its authority was lost.
    Lost,
    /// Its hard deadline had passed.
    Deadline,
    /// Its hard deadline was near.
    Notice,
    /// Its first process had ended.
    LeftBehind,
}

/// What happens to processes of the command that are left when its first process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// They may stay.
    MayStay,
    /// They are waited for, unless a signal asked the command to end: then they are ended.
    IsAwaited,
    /// They are ended.
    IsEnded,
}

/// A command that has run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) ended: Ended,
    /// The output, if it was to be recorded and the end asks for it.
    pub(crate) recording: Option<Recording>,
    /// What is still being written to our output.
    pub(crate) flush: Option<Flush>,
    /// Why the command was asked to end, if it was, when its first process ended.
    pub(crate) why: Option<Why>,
    /// The authority ended before all of the command did.
    pub(crate) lost: bool,
    /// Processes of the command are still there, against what was asked for.
    pub(crate) left: bool,
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

/// Runs the command. `rest` says of an end what happens to processes of the group that are left in the background. They
/// are waited for or ended before this returns, as another caller may run next.
pub(crate) async fn run(
    job: Job,
    authority: Authority,
    signals: &Signals,
    rest: impl Fn(Ended) -> Rest,
) -> Result<Ran, NotStarted> {
    may_start(&authority, signals)?;
    let cannot = |error: io::Error| NotStarted::CannotExecute(Exit::CANNOT_EXECUTE, error.to_string());
    let remaining = authority.hard.saturating_duration_since(Instant::now());
    let spawned = spawn::spawn(job, remaining).await.map_err(cannot)?;
    let Spawned { leader, socket, stdout, guard, orders, mut events } = spawned;
    // From here on an early return drops the guard and the socket: the process ends without having run anything.
    inherited::keep_ends_of_children().map_err(cannot)?;
    let watchman = Watchman::new(guard, orders).map_err(cannot)?;
    let mut terminal = Terminal::of(leader);
    let tee = stdout.map(Tee::start).transpose().map_err(cannot)?;
    may_start(&authority, signals)?;
    shim::go(&socket).map_err(cannot)?;
    let started = tokio::task::spawn_blocking(move || shim::started(socket)).await;
    started
        .unwrap_or_else(|error| Err((Exit::CANNOT_EXECUTE, error.to_string())))
        .map_err(|(exit, why)| NotStarted::CannotExecute(exit, why))?;

    let mut group = Group::new(leader, authority, signals, watchman);
    let stops = signals.stop_with(leader, Signal::TSTP);
    let (ended, mut child) = group.watch_while(end_of(&mut events, terminal.as_mut())).await;
    let why = group.why();
    drop((terminal, stops));
    // Without its first process the group is an orphan, for which the system ignores SIGTSTP.
    let _stops = signals.stop_with(leader, Signal::STOP);
    let rest = rest(ended);
    let (mut recording, mut flush) = (None, None);
    if let Some(tee) = tee {
        let (ready, writing) = tee.end();
        flush = Some(writing);
        if rest == Rest::MayStay {
            recording = Some(group.watch_while(ready).await);
        }
    }
    let left =
        (rest != Rest::MayStay || group.is_ending()) && !group.end_what_is_left(rest, &mut child).await;
    let lost = matches!(group.why(), Some(Why::Lost | Why::Deadline));
    group.end(left, child);
    Ok(Ran { ended, recording, flush, why, lost, left })
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
    mut terminal: Option<&mut Terminal>,
) -> (Ended, std::process::Child) {
    loop {
        let is_waited_for = async {
            match &terminal {
                Some(terminal) => terminal.is_waited_for().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            event = events.recv() => match (event, &mut terminal) {
                (Some(Event::Ended(ended, child)), _) => return (ended, child),
                (Some(Event::Stopped(number)), Some(terminal)) => terminal.stopped(number),
                (Some(Event::Stopped(_)), None) => {}
                // The thread reports an end before it goes.
                (None, _) => std::future::pending().await,
            },
            () = is_waited_for => if let Some(terminal) = &mut terminal { terminal.look() },
        }
    }
}
