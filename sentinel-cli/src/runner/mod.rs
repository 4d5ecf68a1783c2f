//! Runs a command in its own process group under an authority that ends: signals are forwarded, the output is recorded,
//! and nothing of the group is left when the authority is over.

use std::io;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::exit::Exit;

mod command;
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
use guard::GuardKeeper;
use spawn::{Event, Spawned};
use tee::Tee;
use terminal::Terminal;

pub(crate) use command::{Authority, CommandSpec, Ended, NotStarted, Output, Ran, Rest, Why};
pub(crate) use signals::{Signals, stop_requests};
pub(crate) use tee::{Flush, Recording};

/// Runs the command. `rest` decides by its end what happens to processes of the group that are left in the background.
/// They are waited for or ended before this returns, as another caller may run next.
pub(crate) async fn run(
    spec: CommandSpec,
    authority: Authority,
    signals: &Signals,
    rest: impl Fn(Ended) -> Rest,
) -> Result<Ran, NotStarted> {
    may_start(&authority, signals)?;
    let cannot = |error: io::Error| NotStarted::CannotExecute(Exit::CANNOT_EXECUTE, error.to_string());
    let remaining = authority.hard.saturating_duration_since(Instant::now());
    let is_copied = spec.output == Output::Copied;
    let spawned = spawn::spawn(spec, remaining).await.map_err(cannot)?;
    let Spawned { leader, socket, stdout, guard, orders, mut events } = spawned;
    // From here on an early return drops the guard and the socket: the process ends without having run anything.
    inherited::keep_ends_of_children().map_err(cannot)?;
    let guard = GuardKeeper::new(guard, orders).map_err(cannot)?;
    let mut terminal = Terminal::of(leader);
    let tee = stdout.map(|stdout| Tee::start(stdout, is_copied)).transpose().map_err(cannot)?;
    may_start(&authority, signals)?;
    shim::go(&socket).map_err(cannot)?;
    let started = tokio::task::spawn_blocking(move || shim::started(socket)).await;
    started
        .unwrap_or_else(|error| Err((Exit::CANNOT_EXECUTE, error.to_string())))
        .map_err(|(exit, why)| NotStarted::CannotExecute(exit, why))?;

    let mut group = Group::new(leader, authority, signals, guard);
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
            () = is_waited_for => if let Some(terminal) = &mut terminal { terminal.poll() },
        }
    }
}
