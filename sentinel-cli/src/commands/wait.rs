//! Waiting: for a store that is away, for whoever holds a key, and for the store's word that a result is recorded.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sentinel_core::client::Sentinel;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::Context;
use crate::exit::Failure;
use crate::output::note;
use crate::runner::Signals;
use crate::store::Store;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What is left to report is waited for this long before a note says so.
const QUIETLY: Duration = Duration::from_secs(5);

/// A signal ends a wait for the store's word only after this time: the word may be about to come.
const AFTER_SIGNAL: Duration = Duration::from_secs(2);

/// Opens the store. With a deadline it tries again until then, while the store may be back by itself. `Err` in the answer:
/// this signal ended the wait.
pub(super) async fn open_store(
    context: &Context,
    deadline: Option<Instant>,
    signals: &Signals,
) -> Result<Result<Store, i32>, Failure> {
    let mut pause = FIRST_PAUSE;
    loop {
        let failure = match context.store_or_new().await {
            Ok(store) => return Ok(Ok(store)),
            Err(failure) => failure,
        };
        let left = deadline.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        if !failure.may_pass || left.is_zero() {
            return Err(failure);
        }
        if pause == FIRST_PAUSE {
            note(&format!("waiting for the store: {}", failure.message));
        }
        tokio::select! {
            () = sleep(pause.min(left)) => {}
            number = signals.came() => return Ok(Err(number)),
        }
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// How far a call has come: set by the command's task, read by the one who waits for it.
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
    /// The command has ended like this, and its end is being reported to the store.
    Ended(String),
}

impl Progress {
    pub(super) fn reach(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
        self.changed.notify_waiters();
    }

    fn stage(&self) -> Stage {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a signal asks to leave a call that does not run a command: the stage it was in, and the signal.
    async fn left(&self, signals: &Signals) -> (Stage, i32) {
        loop {
            let changed = self.changed.notified();
            match self.stage() {
                Stage::Running => changed.await,
                stage @ Stage::Waiting => tokio::select! {
                    number = signals.came() => return (stage, number),
                    () = changed => {}
                },
                stage @ Stage::Ended(_) => {
                    let leave = async {
                        if timeout(QUIETLY, signals.came()).await.is_err() {
                            note("the store does not confirm the result: sending goes on; a signal ends it");
                        }
                        let number = signals.next().await;
                        sleep(AFTER_SIGNAL).await;
                        number
                    };
                    return (stage, leave.await);
                }
            }
        }
    }
}

/// How a call was waited for.
pub(super) enum Attended<T> {
    /// It was answered.
    Answered(T),
    /// A signal came before the command was started. Nothing has run, and the claim is withdrawn as far as possible.
    NotStarted(i32),
    /// A signal came after the command had ended like this, and the store has not confirmed the result.
    Unconfirmed(String),
}

/// Waits for the answer to a call, or until a signal ends the wait.
pub(super) async fn attend<T>(
    sentinel: &Sentinel,
    progress: &Progress,
    signals: &Signals,
    call: impl Future<Output = T>,
) -> Attended<T> {
    let left = {
        let mut call = std::pin::pin!(call);
        tokio::select! {
            biased;
            answer = &mut call => return Attended::Answered(answer),
            left = progress.left(signals) => left,
        }
    };
    match left {
        (Stage::Ended(how), _) => Attended::Unconfirmed(how),
        (_, number) => {
            // The call was dropped just now: a claim that is on its way is withdrawn.
            report_rest(sentinel, AFTER_SIGNAL).await;
            Attended::NotStarted(number)
        }
    }
}

/// Waits until what the client has to report is reported: a claim that will not run, a vouched release.
pub(super) async fn report_until(sentinel: &Sentinel, at_most: Duration, signals: &Signals) {
    tokio::select! {
        biased;
        drained = sentinel.drain(QUIETLY.min(at_most)) => if drained.is_complete() || at_most <= QUIETLY {
            return;
        },
        _ = signals.came() => {}
    }
    note("the store does not confirm that the key is free again: sending goes on; a signal ends it");
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
