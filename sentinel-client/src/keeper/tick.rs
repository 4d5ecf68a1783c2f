//! The keeper's tick: a pure step over what is held, with the time and the jitter handed in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::LocalTime;
use crate::run::{Inner, Lost};
use crate::slots::{Id, Slots};
use sentinel_core::operation::{Beat, HeartbeatReply, LostReason, Stamped};

/// Whether a worker may still act, as far as this process knows. Shared by the keeper and the function's handle.
#[derive(Debug, Default)]
pub(crate) struct Authority {
    /// Made when somebody asks for it, or when it fires.
    signal: OnceLock<CancellationToken>,
    why: OnceLock<Lost>,
    /// The end of the lease as far as known, in microseconds of the local clock.
    deadline: AtomicU64,
    /// When no heartbeat helps any more, likewise.
    hard: AtomicU64,
    contact: Mutex<Contact>,
}

/// Whether the store has kept an execution alive until now. To lose it is not to lose the authority.
#[derive(Debug, Default)]
struct Contact {
    lost: bool,
    /// Fires when this contact is lost. Made at the first request for it.
    signal: Option<CancellationToken>,
}

impl Authority {
    pub(crate) fn lose(&self, why: Lost) {
        if self.why.set(why).is_ok() {
            crate::observe::lapsed(why.word());
            self.signal().cancel();
        }
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

    /// No heartbeat was answered until the lease was over; whether that is news.
    fn contact_is_lost(&self) -> bool {
        let mut contact = self.contact();
        let news = !std::mem::replace(&mut contact.lost, true);
        if news && let Some(signal) = &contact.signal {
            signal.cancel();
        }
        news
    }

    /// A heartbeat was answered after all. The next loss has a signal of its own.
    fn contact_is_back(&self) {
        let mut contact = self.contact();
        if std::mem::take(&mut contact.lost) {
            contact.signal = None;
        }
    }

    /// Fires when the contact is lost that there is now, and has fired if there is none.
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

    /// When the lease ends, unless another heartbeat is answered.
    pub(crate) fn deadline(&self) -> LocalTime {
        LocalTime(Duration::from_micros(self.deadline.load(Ordering::Relaxed)))
    }

    /// When no heartbeat helps any more.
    pub(crate) fn hard(&self) -> LocalTime {
        LocalTime(Duration::from_micros(self.hard.load(Ordering::Relaxed)))
    }

    pub(crate) fn ends_at(&self, hard: LocalTime) {
        self.hard.store(sentinel_core::internal::micros(hard.0), Ordering::Relaxed);
    }

    fn holds_until(&self, deadline: LocalTime) {
        self.deadline.store(sentinel_core::internal::micros(deadline.0), Ordering::Relaxed);
    }
}

/// One grant that is kept alive.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What the function's handle shares: address, grant, authority.
    pub(crate) run: Arc<Inner>,
    pub(crate) ttl: Duration,
    /// The lease holds until then, measured from when the request that got it was sent.
    pub(crate) deadline: LocalTime,
    /// No heartbeat helps after it.
    pub(crate) hard: LocalTime,
    /// Others may take the key over when the lease is over: it is a lease, or an execution that has not begun.
    pub(crate) fenced_by_lease: bool,
}

impl Entry {
    /// The lease is over. What others may take over is lost then; an execution that has begun has only lost contact, and
    /// its authority ends at the hard deadline.
    fn lease_is_over(&self, now: LocalTime) {
        let authority = &self.run.authority;
        if now >= self.hard {
            authority.lose(Lost::HardDeadline);
        } else if self.fenced_by_lease {
            authority.lose(Lost::Unheard);
        } else if authority.contact_is_lost() {
            crate::observe::contact_lost();
        }
    }

    /// When the next of its deadlines comes.
    fn next_deadline(&self, now: LocalTime) -> Option<LocalTime> {
        let next = if now < self.deadline { self.deadline } else { self.hard };
        (self.run.authority.lost().is_none() && now < next).then_some(next)
    }
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
    /// Something was registered since the last tick.
    used: bool,
    /// When the next tick will come without being asked for.
    planned: Option<LocalTime>,
}

/// What a tick asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    /// Whose beats these are, in the same order.
    pub(crate) ids: Vec<Id>,
    /// To be sent as one batch.
    pub(crate) beats: Vec<Beat>,
    /// When to tick again; None: when something is registered.
    pub(crate) wake: Option<LocalTime>,
}

/// A beat is sent every third of the ttl, so that two may be lost.
const BEATS_PER_TTL: u32 = 3;
/// After a failure the next one comes sooner.
const BEATS_PER_TTL_AFTER_FAILURE: u32 = 10;
/// A tick that finds nothing left comes again so much later, if there was something since the one before: as long as short
/// calls follow one another, none of them has to wake the keeper.
const LINGER: Duration = Duration::from_secs(1);

impl Table {
    /// Keeps a grant alive from now on: its id, and whether the next tick must come sooner than planned.
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

    /// Stops keeping a grant alive. Its authority is left as it is.
    pub(crate) fn remove(&mut self, id: Id) {
        self.kept.remove(id);
    }

    /// Fires the signal of whoever is over its deadline, collects what is due, and tells when to come again. If anything
    /// is due, what would be due within a tenth of its ttl goes along: one batch instead of many.
    pub(crate) fn tick(&mut self, now: LocalTime, jitter: impl Fn(Duration) -> Duration) -> Tick {
        let mut tick = Tick { ids: Vec::new(), beats: Vec::new(), wake: None };
        let any_due = self.kept.values().any(|kept| kept.next_beat.is_some_and(|due| due <= now));
        for (id, kept) in self.kept.iter_mut() {
            let entry = &kept.entry;
            let Inner { address, grant, .. } = &*entry.run;
            if now >= entry.deadline {
                entry.lease_is_over(now);
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

    /// Takes in the replies to a batch that was sent at `sent`.
    pub(crate) fn answered(&mut self, sent: LocalTime, ids: &[Id], replies: &[Stamped<HeartbeatReply>]) {
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
                    kept.entry.run.authority.lose(reason.into());
                    kept.next_beat = None;
                }
                HeartbeatReply::Unknown => self.failed(sent, &[*id]),
            }
        }
    }

    /// A batch was not answered: that says nothing about the leases, and they are asked for again soon.
    pub(crate) fn failed(&mut self, now: LocalTime, ids: &[Id]) {
        crate::observe::heartbeat_failed(ids.len());
        for id in ids {
            let Some(kept) = self.kept.get_mut(*id) else { continue };
            if kept.next_beat.is_some() {
                let pause = kept.entry.ttl / BEATS_PER_TTL_AFTER_FAILURE;
                kept.next_beat = next_beat(&kept.entry, || now, || pause).min(kept.next_beat);
            }
        }
    }
}

/// None where a beat could not extend the lease any more: then neither clock nor jitter is asked.
fn next_beat(
    entry: &Entry,
    now: impl FnOnce() -> LocalTime,
    pause: impl FnOnce() -> Duration,
) -> Option<LocalTime> {
    let at = (entry.deadline < entry.hard).then(|| now().plus(pause()))?;
    (at < entry.hard).then_some(at)
}

impl From<LostReason> for Lost {
    fn from(reason: LostReason) -> Self {
        match reason {
            LostReason::Superseded(current) => Self::Superseded(current),
            LostReason::Completed => Self::Decided,
            LostReason::HardDeadline => Self::HardDeadline,
            LostReason::Lapsed => Self::Unheard,
            LostReason::Abandoned => Self::Abandoned,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::LocalClock;
    use sentinel_core::Grant;
    use sentinel_core::operation::Stamp;
    use sentinel_core::{Address, ClaimId, Key, Namespace, State, StoreTime, Token};

    fn ms(ms: u64) -> LocalTime {
        LocalTime(Duration::from_millis(ms))
    }

    fn entry(key: &str, deadline: u64, hard: u64) -> Entry {
        let run = Inner {
            address: Address::lease(Namespace::new("n").unwrap(), Key::new(key).unwrap()),
            grant: Grant { token: Token::new(7).unwrap(), claim_id: ClaimId::from_bits(1) },
            incarnation: 7,
            clock: LocalClock::new(true),
            authority: Authority::default(),
            records_itself: false.into(),
        };
        let (deadline, hard) = (ms(deadline), ms(hard));
        let ttl = Duration::from_millis(300);
        Entry { run: Arc::new(run), ttl, deadline, hard, fenced_by_lease: true }
    }

    /// An execution that has begun.
    fn begun(deadline: u64, hard: u64) -> Entry {
        Entry { fenced_by_lease: false, ..entry("a", deadline, hard) }
    }

    fn kept(now_ms: u64, until_ms: u64) -> Stamped<HeartbeatReply> {
        let now = StoreTime::from_micros(now_ms * 1000);
        let lease_until = StoreTime::from_micros(until_ms * 1000);
        let token = Token::new(7).unwrap();
        let stamp = Stamp { now, rev: 2, token, state: State::Claimed, changed: true };
        Stamped { reply: HeartbeatReply::Kept { lease_until }, stamp }
    }

    fn all(pause: Duration) -> Duration {
        pause
    }

    #[test]
    fn what_is_due_together_goes_out_as_one_batch() {
        let mut table = Table::default();
        table.insert(entry("a", 300, 9000), || ms(0), all);
        table.insert(entry("b", 310, 9000), || ms(10), all);
        assert_eq!(table.tick(ms(0), all).wake, Some(ms(100)));
        let (later, _) = table.insert(entry("c", 350, 9000), || ms(50), all);
        let tick = table.tick(ms(100), all);
        assert!(tick.beats.len() == 2 && !tick.ids.contains(&later), "more than a tenth of its ttl is left");
        assert_eq!(tick.wake, Some(ms(150)));
    }

    #[test]
    fn an_answer_moves_the_deadline_from_when_the_beat_was_sent() {
        let mut table = Table::default();
        let entry = entry("a", 300, 9000);
        let run = entry.run.clone();
        let authority = &run.authority;
        table.insert(entry, || ms(0), all);
        let tick = table.tick(ms(100), all);
        // The store's clock is far from ours: only what remains counts.
        table.answered(ms(100), &tick.ids, &[kept(50_000, 50_300)]);
        assert_eq!(authority.deadline(), ms(400));
        table.tick(ms(399), all);
        assert_eq!(authority.lost(), None);
        table.tick(ms(400), all);
        assert_eq!(authority.lost(), Some(Lost::Unheard));
        assert!(authority.signal().is_cancelled());
    }

    #[test]
    fn a_failed_beat_is_unknown_until_the_local_deadline() {
        let mut table = Table::default();
        let entry = entry("a", 300, 9000);
        let run = entry.run.clone();
        let authority = &run.authority;
        table.insert(entry, || ms(0), all);
        let tick = table.tick(ms(100), all);
        table.failed(ms(110), &tick.ids);
        assert_eq!(authority.lost(), None);
        assert_eq!(
            table.tick(ms(139), all).beats.len(),
            0,
            "not at once: a store in error_kind is not flooded"
        );
        assert_eq!(table.tick(ms(140), all).beats.len(), 1, "asked again sooner than a third of the ttl");
        table.tick(ms(300), all);
        assert_eq!(authority.lost(), Some(Lost::Unheard));
    }

    #[test]
    fn an_execution_that_lost_contact_keeps_its_authority_until_the_hard_deadline() {
        let mut table = Table::default();
        let entry = begun(300, 900);
        let run = entry.run.clone();
        let authority = &run.authority;
        table.insert(entry, || ms(0), all);
        let contact = authority.contact_signal();
        let mut beats = 0;
        for now in (100..900).step_by(10) {
            let tick = table.tick(ms(now), all);
            assert!(tick.wake > Some(ms(now)), "no tick is asked for in the past");
            table.failed(ms(now), &tick.ids);
            beats += tick.beats.len();
            assert_eq!((authority.lost(), contact.is_cancelled()), (None, now >= 300), "at {now} ms");
        }
        assert!(beats > 20, "it goes on asking: {beats} beats");
        assert!(authority.contact_signal().is_cancelled() && !authority.signal().is_cancelled());
        table.tick(ms(900), all);
        assert_eq!(authority.lost(), Some(Lost::HardDeadline));
        assert!(authority.signal().is_cancelled());
    }

    #[test]
    fn contact_that_is_back_can_be_lost_again() {
        let mut table = Table::default();
        let entry = begun(300, 9000);
        let run = entry.run.clone();
        let authority = &run.authority;
        table.insert(entry, || ms(0), all);
        let tick = table.tick(ms(100), all);
        table.failed(ms(110), &tick.ids);
        table.tick(ms(310), all);
        let first = authority.contact_signal();
        assert!(first.is_cancelled());
        table.answered(ms(400), &tick.ids, &[kept(50_000, 50_300)]);
        let second = authority.contact_signal();
        assert!(!second.is_cancelled() && first.is_cancelled());
        table.tick(ms(700), all);
        assert!(second.is_cancelled());
        assert_eq!(authority.lost(), None);
    }

    #[test]
    fn an_execution_that_the_store_has_given_away_is_lost_at_once() {
        let mut table = Table::default();
        let entry = begun(300, 9000);
        let run = entry.run.clone();
        table.insert(entry, || ms(0), all);
        let tick = table.tick(ms(100), all);
        let reply = kept(0, 0).map(|_| HeartbeatReply::Lost(LostReason::Completed));
        table.answered(ms(100), &tick.ids, &[reply]);
        assert_eq!(run.authority.lost(), Some(Lost::Decided));
    }

    #[test]
    fn the_tick_is_asked_for_only_by_what_is_due_before_it() {
        let mut table = Table::default();
        assert!(table.insert(entry("a", 300, 9000), || ms(0), all).1, "no tick is planned yet");
        table.tick(ms(0), all);
        assert!(!table.insert(entry("b", 310, 9000), || ms(10), all).1);
        assert!(!table.insert(entry("d", 100, 100), || ms(10), all).1, "the tick that is planned will do");
        assert!(table.insert(entry("c", 90, 90), || ms(10), all).1, "its deadline comes first");
    }

    #[test]
    fn short_calls_in_a_row_ask_for_no_tick() {
        let mut table = Table::default();
        let (id, sooner) = table.insert(entry("a", 5000, 5000), || ms(0), all);
        assert!(sooner, "the first one wakes the keeper");
        table.remove(id);
        assert_eq!(table.tick(ms(1), all).wake, Some(ms(1001)), "it lingers, though nothing is left");
        let (id, sooner) = table.insert(entry("b", 5500, 5500), || ms(500), all);
        table.remove(id);
        assert!(!sooner);
        assert!(table.insert(entry("c", 900, 900), || ms(600), all).1, "its deadline comes first");
    }

    #[test]
    fn a_keeper_with_nothing_to_keep_comes_to_rest() {
        let mut table = Table::default();
        let (id, _) = table.insert(entry("a", 300, 300), || ms(0), all);
        table.remove(id);
        let wake = table.tick(ms(1), all).wake.unwrap();
        assert_eq!(table.tick(wake, all).wake, None);
        assert!(table.insert(entry("b", 9000, 9000), || ms(1002), all).1, "and is woken by the next one");
    }

    #[test]
    fn nothing_is_sent_that_could_not_extend_the_lease() {
        let mut table = Table::default();
        let entry = entry("a", 300, 300);
        let run = entry.run.clone();
        let authority = &run.authority;
        table.insert(entry, || ms(0), all);
        let tick = table.tick(ms(299), all);
        assert_eq!((tick.beats.len(), tick.wake), (0, Some(ms(300))));
        assert_eq!(table.tick(ms(300), all).wake, None);
        assert_eq!(authority.lost(), Some(Lost::HardDeadline));
        let mut table = Table::default();
        table.insert(self::entry("b", 90, 100), || ms(0), all);
        assert_eq!(table.tick(ms(100), all).beats.len(), 0, "it would be due at the hard deadline");
    }

    #[test]
    fn no_answer_moves_the_end_past_the_hard_deadline() {
        let mut table = Table::default();
        let entry = entry("a", 300, 500);
        let run = entry.run.clone();
        table.insert(entry, || ms(0), all);
        let tick = table.tick(ms(250), all);
        // Measured from when this request was sent, the store's hard deadline seems to come later.
        table.answered(ms(250), &tick.ids, &[kept(50_000, 50_270)]);
        assert_eq!(run.authority.deadline(), ms(500));
        table.tick(ms(500), all);
        assert_eq!(run.authority.lost(), Some(Lost::HardDeadline));
    }

    #[test]
    fn a_lost_grant_is_signalled_once_and_never_beaten_again() {
        let mut table = Table::default();
        let entry = entry("a", 300, 9000);
        let run = entry.run.clone();
        let authority = &run.authority;
        table.insert(entry, || ms(0), all);
        let tick = table.tick(ms(100), all);
        let reply = kept(0, 0).map(|_| HeartbeatReply::Lost(LostReason::Lapsed));
        table.answered(ms(100), &tick.ids, &[reply]);
        assert_eq!(authority.lost(), Some(Lost::Unheard));
        assert_eq!(table.tick(ms(250), all), Tick { ids: vec![], beats: vec![], wake: None });
    }
}
