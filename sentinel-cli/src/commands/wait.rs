//! Waits for a store that cannot be reached, for the holder of a key, and for the store to confirm a result.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sentinel::Sentinel;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::context::Context;
use crate::exit::{CliError, Exit};
use crate::output::note;
use crate::runner::Signals;
use crate::store::OpenStore;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The program waits this long for unfinished requests before it prints a note about them.
const SILENT: Duration = Duration::from_secs(5);

/// A signal ends a wait for the store's reply only after this time, because the reply may arrive soon.
const AFTER_SIGNAL: Duration = Duration::from_secs(2);

/// What a command that claims has before it claims.
pub(super) struct Ready {
    pub(super) sentinel: Sentinel,
    pub(super) signals: Signals,
    /// Until when it waits.
    pub(super) deadline: Option<Instant>,
}

/// Listens for signals, opens the store, and makes the client. `Err` in the result: this signal came, and nothing was
/// sent.
pub(super) async fn ready(context: &Context, wait: Option<Duration>) -> Result<Result<Ready, i32>, CliError> {
    let signals = Signals::listen().map_err(|error| CliError::new(Exit::UNAVAILABLE, error.to_string()))?;
    let deadline = wait.map(|wait| Instant::now() + wait);
    let store = match open_store(context, deadline, &signals).await? {
        Ok(store) => store,
        Err(number) => return Ok(Err(number)),
    };
    if let Some(number) = signals.pending() {
        return Ok(Err(number));
    }
    Ok(Ok(Ready { sentinel: context.client(store)?, signals, deadline }))
}

/// Opens the store. With a deadline it tries again until then, as long as the store may recover without help. `Err` in
/// the result: this signal ended the wait.
async fn open_store(
    context: &Context,
    deadline: Option<Instant>,
    signals: &Signals,
) -> Result<Result<OpenStore, i32>, CliError> {
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

/// Connecting, heartbeats and the command need a thread each. If no thread can be started, nothing is sent.
fn can_start_threads() -> Result<(), CliError> {
    let started = std::thread::Builder::new().spawn(|| ());
    started.map(|thread| drop(thread.join())).map_err(|error| {
        let text = format!(
            "no thread could be started: {error}; the command did not run. Raise the limit of processes \
                or threads"
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
    /// The command has ended this way. The client reports it to the store, at most until this instant.
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

    /// Waits until a call that does not run a command must end: a signal asks for it, or the time for the report is
    /// over.
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
                                "the result is not recorded yet{why}; the program keeps sending it \
                                    until a signal arrives"
                            ));
                        }
                        signals.next().await;
                        sleep(AFTER_SIGNAL).await;
                    };
                    // Both ends are a reason to stop waiting.
                    let _ = timeout_at(until, asked).await;
                    return Interruption::Unconfirmed(how);
                }
            }
        }
    }
}

/// The result of waiting for a call.
pub(super) enum CallResult<T> {
    /// The call returned this.
    Answered(T),
    /// The program stopped waiting.
    Interrupted(Interruption),
}

/// Why the program stopped waiting for a call.
pub(super) enum Interruption {
    /// A signal arrived before the command was started. Nothing has run, and the claim is withdrawn as far as possible.
    NotStarted(i32),
    /// The command had ended this way. The store had not confirmed the result when a signal arrived or the time was
    /// over.
    Unconfirmed(String),
}

/// Waits for a call to return, or until a signal ends the wait.
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
        // The call was dropped just now, so a claim in flight is withdrawn.
        report_rest(sentinel, AFTER_SIGNAL).await;
    }
    CallResult::Interrupted(interruption)
}

/// Waits until the client has sent its unfinished requests: the cancel of a claim that will not run, a vouched release.
pub(super) async fn report_until(sentinel: &Sentinel, at_most: Duration, signals: &Signals) {
    tokio::select! {
        biased;
        drained = sentinel.drain(SILENT.min(at_most)) => if drained.is_complete() || at_most <= SILENT {
            return;
        },
        _ = signals.came() => {}
    }
    let why = errors(sentinel);
    note(&format!(
        "the key is not free again yet{why}; the program keeps sending the request until a \
        signal arrives"
    ));
    tokio::select! {
        () = report_rest(sentinel, at_most) => {}
        _ = signals.came() => note("nothing happened, but the key may stay claimed or become uncertain; \
            inspect it"),
    }
}

async fn report_rest(sentinel: &Sentinel, at_most: Duration) {
    for left in sentinel.drain(at_most).await.unfinished {
        note(&left.to_string());
    }
}

/// The last errors of the unfinished requests, to append to a sentence.
pub(super) fn errors(sentinel: &Sentinel) -> String {
    let errors = sentinel.unfinished().into_iter().filter_map(|left| left.error);
    errors.map(|error| format!(": {error}")).collect()
}
