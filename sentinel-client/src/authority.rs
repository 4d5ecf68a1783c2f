//! Whether a worker may still act, and why it lost that.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use sentinel_core::operation::{Current, LostReason};
use tokio_util::sync::CancellationToken;

use super::clock::LocalTime;

/// Why a worker has lost its authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The grant is no longer the record's: another call or an operator took the record, or it is free.
    Superseded(Current),
    /// The key is completed.
    Decided,
    /// The hard deadline has passed.
    HardDeadline,
    /// No heartbeat was answered until the end of the lease, and another call may have taken over since. Only for a
    /// lease, or an execution that had not begun: an execution that has begun is not lost by that.
    HeartbeatTimeout,
    /// The run was abandoned: its end was reported with an unknown outcome.
    Abandoned,
}

impl Lost {
    /// The name used in logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Superseded(_) => "superseded",
            Self::Decided => "decided",
            Self::HardDeadline => "hard_deadline",
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::Abandoned => "abandoned",
        }
    }
}

impl From<LostReason> for Lost {
    fn from(reason: LostReason) -> Self {
        match reason {
            LostReason::Superseded(current) => Self::Superseded(current),
            LostReason::Completed => Self::Decided,
            LostReason::HardDeadline => Self::HardDeadline,
            LostReason::Lapsed => Self::HeartbeatTimeout,
            LostReason::Abandoned => Self::Abandoned,
        }
    }
}

/// Whether a worker may still act, as far as this process knows. Shared by the keeper and the function's handle.
#[derive(Debug, Default)]
pub(crate) struct Authority {
    /// Created at the first request for it, or when it fires.
    signal: OnceLock<CancellationToken>,
    why: OnceLock<Lost>,
    /// The end of the lease as far as known, in microseconds of the local clock.
    deadline: AtomicU64,
    /// The hard deadline, also in microseconds of the local clock.
    hard: AtomicU64,
    contact: Mutex<Contact>,
}

/// Whether heartbeats have kept an execution's lease live so far. Losing contact is not losing authority.
#[derive(Debug, Default)]
struct Contact {
    lost: bool,
    /// Fires when this contact is lost. Created at the first request for it.
    signal: Option<CancellationToken>,
}

impl Authority {
    /// Records that the authority is lost. Returns whether it was not lost already.
    pub(crate) fn lose(&self, why: Lost) -> bool {
        let news = self.why.set(why).is_ok();
        if news {
            self.signal().cancel();
        }
        news
    }

    /// Fires when the authority is lost.
    pub(crate) fn signal(&self) -> &CancellationToken {
        self.signal.get_or_init(CancellationToken::new)
    }

    pub(crate) fn lost(&self) -> Option<Lost> {
        self.why.get().copied()
    }

    fn contact(&self) -> MutexGuard<'_, Contact> {
        self.contact.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lease ended without an answered heartbeat. Returns whether contact was not lost already.
    pub(crate) fn contact_is_lost(&self) -> bool {
        let mut contact = self.contact();
        let news = !std::mem::replace(&mut contact.lost, true);
        if news && let Some(signal) = &contact.signal {
            signal.cancel();
        }
        news
    }

    /// A heartbeat was answered again. The next loss gets a new signal.
    pub(crate) fn contact_is_back(&self) {
        let mut contact = self.contact();
        if std::mem::take(&mut contact.lost) {
            contact.signal = None;
        }
    }

    /// A signal that fires when the current contact is lost. If contact is lost now, it has already fired.
    pub(crate) fn contact_signal(&self) -> CancellationToken {
        let mut contact = self.contact();
        let lost = contact.lost;
        let signal = contact.signal.get_or_insert_default().clone();
        drop(contact);
        if lost {
            signal.cancel();
        }
        signal
    }

    /// When the lease ends if no other heartbeat is answered.
    pub(crate) fn deadline(&self) -> LocalTime {
        LocalTime(Duration::from_micros(self.deadline.load(Ordering::Relaxed)))
    }

    /// The hard deadline, after which no heartbeat extends the lease.
    pub(crate) fn hard(&self) -> LocalTime {
        LocalTime(Duration::from_micros(self.hard.load(Ordering::Relaxed)))
    }

    pub(crate) fn ends_at(&self, hard: LocalTime) {
        self.hard.store(sentinel_core::internal::micros(hard.0), Ordering::Relaxed);
    }

    pub(crate) fn holds_until(&self, deadline: LocalTime) {
        self.deadline.store(sentinel_core::internal::micros(deadline.0), Ordering::Relaxed);
    }
}
