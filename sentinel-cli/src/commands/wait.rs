//! Waiting: for a store that is away, for the holder of a key, and for the store to confirm that a result is recorded.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sentinel_client::Sentinel;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::context::Context;
use crate::exit::{CliError, Exit};
use crate::output::note;
use crate::runner::Signals;
use crate::store::Store;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What is left to report is waited for this long before a note reports it.
const SILENT: Duration = Duration::from_secs(5);

/// A signal ends a wait for the store's reply only after this time: the reply may be about to come.
const AFTER_SIGNAL: Duration = Duration::from_secs(2);

/// Opens the store. With a deadline it tries again until then, while the store may be back by itself. `Err` in the
/// answer: this signal ended the wait.
pub(super) async fn open_store(
    context: &Context,
    deadline: Option<Instant>,
    signals: &Signals,
) -> Result<Result<Store, i32>, CliError> {
    can_start_threads()?;
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match context.store_or_new().await {
            Ok(store) => return Ok(Ok(store)),
            Err(error) => error,
        };
        let left = deadline.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        if !error.may_pass || left.is_zero() {
            return Err(error);
        }
        if pause == FIRST_PAUSE {
            note(&format!("waiting for the store: {}", error.message));
        }
        tokio::select! {
            () = sleep(pause.min(left)) => {}
            number = signals.came() => return Ok(Err(number)),
        }
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Connecting, heartbeats and the command need a thread each. Where none can be had, nothing is sent.
fn can_start_threads() -> Result<(), CliError> {
    let started = std::thread::Builder::new().spawn(|| ());
    started.map(|thread| drop(thread.join())).map_err(|error| {
        let text = format!(
            "nothing ran: no thread could be started: {error}; raise the limit of processes or threads"
        );
        CliError::new(Exit::UNAVAILABLE, text)
    })
}

/// How far a call has come: set by the command's task, read by the task that waits for the call.
#[derive(Debug, Default)]
pub(super) struct Progress {
    stage: Mutex<Stage>,
    changed: Notify,
}

#[derive(Debug, Clone, Default)]
pub(super) enum Stage {
    /// The command has not been started.
    #[default]
    Waiting,
    /// The command runs, and signals are forwarded to it.
    Running,
    /// The command has ended like this, and its end is being reported to the store, until this instant at most.
    Ended(String, Instant),
}

impl Progress {
    pub(super) fn reach(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
        self.changed.notify_waiters();
    }

    fn stage(&self) -> Stage {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it is time to leave a call that does not run a command, since a signal asks for it or the time for a
    /// report is over.
    async fn interruption(&self, sentinel: &Sentinel, signals: &Signals) -> Interruption {
        loop {
            let changed = self.changed.notified();
            match self.stage() {
                Stage::Running => changed.await,
                Stage::Waiting => tokio::select! {
                    number = signals.came() => return Interruption::NotStarted(number),
                    () = changed => {}
                },
                Stage::Ended(how, until) => {
                    let asked = async {
                        if timeout(SILENT, signals.came()).await.is_err() {
                            let why = errors(sentinel);
                            note(&format!(
                                "the result is not recorded yet{why}; sending goes on, and a signal ends it"
                            ));
                        }
                        signals.next().await;
                        sleep(AFTER_SIGNAL).await;
                    };
                    // Either is a reason to leave.
                    let _ = timeout_at(until, asked).await;
                    return Interruption::Unconfirmed(how);
                }
            }
        }
    }
}

/// The result of waiting for a call.
pub(super) enum CallResult<T> {
    /// It was answered.
    Answered(T),
    /// It was left without an answer.
    Interrupted(Interruption),
}

/// Why a call was left without an answer.
pub(super) enum Interruption {
    /// A signal came before the command was started. Nothing has run, and the claim is withdrawn as far as possible.
    NotStarted(i32),
    /// The command had ended like this, and the store has not confirmed the result until a signal came, or for too
    /// long.
    Unconfirmed(String),
}

/// Waits for the answer to a call, or until a signal ends the wait.
pub(super) async fn await_call<T>(
    sentinel: &Sentinel,
    progress: &Progress,
    signals: &Signals,
    call: impl Future<Output = T>,
) -> CallResult<T> {
    let interruption = {
        let mut call = std::pin::pin!(call);
        tokio::select! {
            biased;
            answer = &mut call => return CallResult::Answered(answer),
            interruption = progress.interruption(sentinel, signals) => interruption,
        }
    };
    if let Interruption::NotStarted(_) = interruption {
        // The call was dropped just now: a claim that is on its way is withdrawn.
        report_rest(sentinel, AFTER_SIGNAL).await;
    }
    CallResult::Interrupted(interruption)
}

/// Waits until what the client has to report is reported: a claim that will not run, a vouched release.
pub(super) async fn report_until(sentinel: &Sentinel, at_most: Duration, signals: &Signals) {
    tokio::select! {
        biased;
        drained = sentinel.drain(SILENT.min(at_most)) => if drained.is_complete() || at_most <= SILENT {
            return;
        },
        _ = signals.came() => {}
    }
    let why = errors(sentinel);
    note(&format!("the key is not free again yet{why}; sending goes on, and a signal ends it"));
    tokio::select! {
        () = report_rest(sentinel, at_most) => {}
        _ = signals.came() => note("the key may stay claimed, or in doubt, although nothing happened"),
    }
}

async fn report_rest(sentinel: &Sentinel, at_most: Duration) {
    for left in sentinel.drain(at_most).await.unfinished {
        note(&left.to_string());
    }
}

/// The last errors of what is not finished, to be put behind a sentence.
pub(super) fn errors(sentinel: &Sentinel) -> String {
    let errors = sentinel.unfinished().into_iter().filter_map(|left| left.error);
    errors.map(|error| format!(": {error}")).collect()
}
