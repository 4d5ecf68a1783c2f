//! The unfinished work of a client, for a process that is about to exit.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sentinel_core::{Address, StoreError};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::signals::events;
use super::slots::{Id, Slots};

/// The kind of unfinished work on a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Work {
    /// A claim waits for its reply. No function of this call has run.
    Claim,
    /// A claim that will not run is being cancelled. No function of this call has run.
    Cancel,
    /// The function of an execution, or its preparation, has not returned.
    Run,
    /// The function has returned, and its result is not confirmed as recorded.
    Result,
    /// A release is not confirmed: of a lease, or of a run whose worker vouched that nothing happened.
    Release,
    /// The function has ended with an unknown outcome, and the store has not confirmed the abandon.
    Abandon,
    /// A lease is held: its holder has neither released nor dropped it.
    Lease,
    /// A future that leads has not returned.
    Lead,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Claim => "its claim waits for a reply, and nothing of this call has run",
            Self::Cancel => "its claim is not cancelled, and nothing of this call has run",
            Self::Run => "its function has not returned",
            Self::Result => "its function has returned, and the result is not recorded",
            Self::Release => "its release is not confirmed",
            Self::Abandon => {
                "its function has ended with an unknown outcome, and the store has not confirmed the report"
            }
            Self::Lease => "the lease is still held",
            Self::Lead => "the future that leads has not returned",
        })
    }
}

/// One piece of unfinished work.
#[derive(Debug, Clone)]
pub struct Unfinished {
    /// The address of the record.
    pub address: Address,
    /// The kind of work.
    pub work: Work,
    /// The last error of the store; None: there was none so far.
    pub error: Option<StoreError>,
    /// Whether the client has stopped trying: the error cannot pass, or the time for reporting is over: 10 minutes
    /// after the hard deadline, or for a lease its lapse.
    pub given_up: bool,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.work)?;
        match &self.error {
            Some(error) if self.given_up => write!(f, "; the client has given up: {error}"),
            Some(error) => write!(f, ": {error}"),
            None => Ok(()),
        }
    }
}

/// The report of [`Sentinel::drain`](crate::Sentinel::drain).
#[must_use = "this report is the only one of unfinished work"]
#[derive(Debug, Clone)]
pub struct Drained {
    /// All unfinished work, including leases that are still held.
    pub unfinished: Vec<Unfinished>,
}

impl Drained {
    /// Whether all work is finished: the process can exit without leaving an uncertain key.
    pub fn is_complete(&self) -> bool {
        self.unfinished.is_empty()
    }
}

/// The maximum number of reports of work that was given up; the newest are kept.
const GIVEN_UP: usize = 100;

#[derive(Debug, Default)]
pub(crate) struct OpenWork {
    entries: Mutex<Entries>,
    draining: CancellationToken,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Entries {
    open: Slots<Unfinished>,
    given_up: Vec<Unfinished>,
}

/// One entry of the open work, which is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct WorkGuard {
    open_work: Arc<OpenWork>,
    id: Id,
}

impl OpenWork {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open(self: &Arc<Self>, address: &Address, work: Work) -> WorkGuard {
        let entry = Unfinished { address: address.clone(), work, error: None, given_up: false };
        let id = self.entries().open.insert(entry);
        WorkGuard { open_work: self.clone(), id }
    }

    /// Fires when the client starts to drain.
    pub(crate) fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    pub(crate) async fn drain(&self, at_most: Duration) -> Drained {
        self.draining.cancel();
        let finished = async {
            loop {
                let mut changed = pin!(self.changed.notified());
                // Registered before the entries are read, so that no change in between is missed.
                changed.as_mut().enable();
                if self.entries().open.values().all(|entry| entry.work == Work::Lease) {
                    return;
                }
                changed.await;
            }
        };
        // Unfinished work is in the report.
        let _ = timeout(at_most, finished).await;
        Drained { unfinished: self.unfinished() }
    }

    pub(crate) fn unfinished(&self) -> Vec<Unfinished> {
        let entries = self.entries();
        entries.open.values().chain(&entries.given_up).cloned().collect()
    }

    fn notify(&self) {
        if self.draining.is_cancelled() {
            self.changed.notify_waiters();
        }
    }
}

impl WorkGuard {
    pub(crate) fn becomes(&self, work: Work) {
        if let Some(entry) = self.open_work.entries().open.get_mut(self.id) {
            entry.work = work;
        }
        self.open_work.notify();
    }

    pub(crate) fn failed(&self, error: &StoreError) {
        if let Some(entry) = self.open_work.entries().open.get_mut(self.id) {
            entry.error = Some(error.clone());
        }
    }

    /// Marks the work as given up: later reports still list it.
    pub(crate) fn give_up(&self, error: StoreError) {
        let mut entries = self.open_work.entries();
        let Some(entry) = entries.open.get_mut(self.id).cloned() else { return };
        if entries.given_up.len() == GIVEN_UP {
            entries.given_up.remove(0);
        }
        entries.given_up.push(Unfinished { error: Some(error), given_up: true, ..entry.clone() });
        drop(entries);
        events::report_given_up(&entry.address, &entry.work.to_string());
    }
}

impl Drop for WorkGuard {
    fn drop(&mut self) {
        self.open_work.entries().open.remove(self.id);
        self.open_work.notify();
    }
}
