//! The tick of the keeper: a pure step over all grants that are held. Time and jitter are arguments.

use std::sync::Arc;
use std::time::Duration;

use sentinel_core::operation::{Beat, HeartbeatReply, Stamped};

use crate::authority::Lost;
use crate::clock::LocalTime;
use crate::run::Inner;
use crate::slots::{Id, Slots};

/// One grant that is kept alive.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Shared with the function's handle: address, grant, authority.
    pub(crate) run: Arc<Inner>,
    pub(crate) ttl: Duration,
    /// When the lease ends, measured from when the request that extended it was sent.
    pub(crate) deadline: LocalTime,
    /// The hard deadline, after which no heartbeat extends the lease.
    pub(crate) hard: LocalTime,
    /// Whether another call may take over after the end of the lease: true for a lease, and for an execution that has
    /// not begun.
    pub(crate) fenced_by_lease: bool,
}

impl Entry {
    /// Handles the end of the lease. If another call may take over, the authority is lost now. An execution that has
    /// begun has only lost contact, and keeps its authority until the hard deadline.
    fn lease_is_over(&self, now: LocalTime) -> Option<News> {
        let authority = &self.run.authority;
        let run = || self.run.clone();
        if now >= self.hard {
            authority.lose(Lost::HardDeadline).then(|| News::Lost(run(), Lost::HardDeadline))
        } else if self.fenced_by_lease {
            authority.lose(Lost::HeartbeatTimeout).then(|| News::Lost(run(), Lost::HeartbeatTimeout))
        } else {
            authority.contact_is_lost().then(|| News::ContactLost(run()))
        }
    }

    /// The next of its deadlines; None if there is none left.
    fn next_deadline(&self, now: LocalTime) -> Option<LocalTime> {
        let next = if now < self.deadline { self.deadline } else { self.hard };
        (self.run.authority.lost().is_none() && now < next).then_some(next)
    }
}

/// What has happened to a grant, to be reported when the table is no longer locked.
#[derive(Debug)]
pub(crate) enum News {
    /// Its authority is lost.
    Lost(Arc<Inner>, Lost),
    /// No heartbeat was answered until the end of the lease; the authority is not lost.
    ContactLost(Arc<Inner>),
}

#[derive(Debug)]
struct Kept {
    entry: Entry,
    next_beat: Option<LocalTime>,
}

/// All grants that are kept alive.
#[derive(Debug, Default)]
pub(crate) struct Table {
    kept: Slots<Kept>,
    news: Vec<News>,
    /// Whether a grant was added since the last tick.
    used: bool,
    /// When the next tick happens if nothing requests an earlier one.
    planned: Option<LocalTime>,
}

/// What the caller of a tick must do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    /// The ids of the beats, in the same order.
    pub(crate) ids: Vec<Id>,
    /// The heartbeats to send as one batch.
    pub(crate) beats: Vec<Beat>,
    /// When to tick again; None: when the next grant is added.
    pub(crate) wake: Option<LocalTime>,
}

/// A heartbeat is sent every third of the ttl, so that two may be lost.
const BEATS_PER_TTL: u32 = 3;
/// After a failure the next one is sent sooner.
const BEATS_PER_TTL_AFTER_FAILURE: u32 = 10;
/// If no grants are left, and there was one since the last tick, the next tick is this much later. Then short calls in
/// a row do not each have to wake the keeper.
const LINGER: Duration = Duration::from_secs(1);

impl Table {
    /// Starts to keep a grant alive. Returns its id, and whether the next tick must come sooner than planned.
    pub(crate) fn insert(
        &mut self,
        entry: Entry,
        now: impl FnOnce() -> LocalTime,
        jitter: impl FnOnce(Duration) -> Duration,
    ) -> (Id, bool) {
        let next_beat = next_beat(&entry, now, || jitter(entry.ttl / BEATS_PER_TTL));
        let first = next_beat.unwrap_or(entry.deadline).min(entry.deadline);
        entry.run.authority.holds_until(entry.deadline);
        self.used = true;
        let id = self.kept.insert(Kept { entry, next_beat });
        (id, self.planned.is_none_or(|planned| first < planned))
    }

    /// Stops keeping a grant alive. Its authority does not change.
    pub(crate) fn remove(&mut self, id: Id) {
        self.kept.remove(id);
    }

    /// Fires the signals of grants past their deadlines, collects the heartbeats that are due, and returns when to tick
    /// again. If any heartbeat is due, those that are due within a tenth of their ttl are included: one batch instead
    /// of many.
    pub(crate) fn tick(&mut self, now: LocalTime, jitter: impl Fn(Duration) -> Duration) -> Tick {
        let mut tick = Tick { ids: Vec::new(), beats: Vec::new(), wake: None };
        let any_due = self.kept.values().any(|kept| kept.next_beat.is_some_and(|due| due <= now));
        for (id, kept) in self.kept.iter_mut() {
            let entry = &kept.entry;
            let Inner { address, grant, .. } = &*entry.run;
            if now >= entry.deadline {
                self.news.extend(entry.lease_is_over(now));
            }
            let soon = now.plus(entry.ttl / BEATS_PER_TTL_AFTER_FAILURE);
            if any_due && kept.next_beat.is_some_and(|due| due <= soon) {
                tick.ids.push(id);
                tick.beats.push(Beat { address: address.clone(), grant: *grant });
                kept.next_beat = next_beat(entry, || now, || jitter(entry.ttl / BEATS_PER_TTL));
            }
            tick.wake = [tick.wake, entry.next_deadline(now), kept.next_beat].into_iter().flatten().min();
        }
        let used = std::mem::take(&mut self.used);
        tick.wake = tick.wake.or_else(|| used.then(|| now.plus(LINGER)));
        self.planned = tick.wake;
        tick
    }

    /// Handles the replies to a batch that was sent at `sent`. Returns for how many the store did not read the record.
    pub(crate) fn answered(
        &mut self,
        sent: LocalTime,
        ids: &[Id],
        replies: &[Stamped<HeartbeatReply>],
    ) -> usize {
        let mut unknown = 0;
        for (id, stamped) in ids.iter().zip(replies) {
            let Some(kept) = self.kept.get_mut(*id) else { continue };
            match stamped.reply {
                HeartbeatReply::Kept { lease_until } => {
                    let until = sent.plus(lease_until.since(stamped.stamp.now));
                    let until = until.min(kept.entry.hard);
                    if until > kept.entry.deadline {
                        kept.entry.deadline = until;
                        kept.entry.run.authority.holds_until(until);
                        kept.entry.run.authority.contact_is_back();
                    }
                }
                HeartbeatReply::Lost(reason) => {
                    let why = reason.into();
                    if kept.entry.run.authority.lose(why) {
                        self.news.push(News::Lost(kept.entry.run.clone(), why));
                    }
                    kept.next_beat = None;
                }
                HeartbeatReply::Unknown => {
                    unknown += 1;
                    self.failed(sent, &[*id]);
                }
            }
        }
        unknown
    }

    /// What has happened since the last call of this.
    pub(crate) fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Handles a batch without replies. This implies nothing about the leases; the heartbeats are sent again soon.
    pub(crate) fn failed(&mut self, now: LocalTime, ids: &[Id]) {
        for id in ids {
            let Some(kept) = self.kept.get_mut(*id) else { continue };
            if kept.next_beat.is_some() {
                let pause = kept.entry.ttl / BEATS_PER_TTL_AFTER_FAILURE;
                kept.next_beat = next_beat(&kept.entry, || now, || pause).min(kept.next_beat);
            }
        }
    }
}

/// When to send the next heartbeat. None if it cannot extend the lease any more; then neither clock nor jitter is used.
fn next_beat(
    entry: &Entry,
    now: impl FnOnce() -> LocalTime,
    pause: impl FnOnce() -> Duration,
) -> Option<LocalTime> {
    let at = (entry.deadline < entry.hard).then(|| now().plus(pause()))?;
    (at < entry.hard).then_some(at)
}

#[cfg(test)]
mod tests;
