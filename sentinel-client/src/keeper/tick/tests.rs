use super::*;
use crate::authority::Authority;
use crate::clock::LocalClock;
use sentinel_core::Grant;
use sentinel_core::operation::{LostReason, Stamp};
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
        attempts: Default::default(),
        records_itself: false.into(),
        span: tracing::Span::none(),
        cause: None,
        claimed_at: ms(0),
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
fn heartbeats_that_are_due_together_are_one_batch() {
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
fn a_reply_moves_the_deadline_counted_from_when_the_beat_was_sent() {
    let mut table = Table::default();
    let entry = entry("a", 300, 9000);
    let run = entry.run.clone();
    let authority = &run.authority;
    table.insert(entry, || ms(0), all);
    let tick = table.tick(ms(100), all);
    // The store's clock is far from ours: only the remaining time counts.
    table.answered(ms(100), &tick.ids, &[kept(50_000, 50_300)]);
    assert_eq!(authority.deadline(), ms(400));
    table.tick(ms(399), all);
    assert_eq!(authority.lost(), None);
    table.tick(ms(400), all);
    assert_eq!(authority.lost(), Some(Lost::HeartbeatTimeout));
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
    assert_eq!(table.tick(ms(139), all).beats.len(), 0, "not at once: a store in error_kind is not flooded");
    assert_eq!(table.tick(ms(140), all).beats.len(), 1, "asked again sooner than a third of the ttl");
    table.tick(ms(300), all);
    assert_eq!(authority.lost(), Some(Lost::HeartbeatTimeout));
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
fn restored_contact_can_be_lost_again() {
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
fn an_execution_that_the_store_reports_as_lost_is_lost_at_once() {
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
fn an_earlier_tick_is_requested_only_for_an_earlier_deadline() {
    let mut table = Table::default();
    assert!(table.insert(entry("a", 300, 9000), || ms(0), all).1, "no tick is planned yet");
    table.tick(ms(0), all);
    assert!(!table.insert(entry("b", 310, 9000), || ms(10), all).1);
    assert!(!table.insert(entry("d", 100, 100), || ms(10), all).1, "the tick that is planned will do");
    assert!(table.insert(entry("c", 90, 90), || ms(10), all).1, "its deadline comes first");
}

#[test]
fn short_calls_in_a_row_request_no_tick() {
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
fn a_keeper_without_grants_stops_ticking() {
    let mut table = Table::default();
    let (id, _) = table.insert(entry("a", 300, 300), || ms(0), all);
    table.remove(id);
    let wake = table.tick(ms(1), all).wake.unwrap();
    assert_eq!(table.tick(wake, all).wake, None);
    assert!(table.insert(entry("b", 9000, 9000), || ms(1002), all).1, "and is woken by the next one");
}

#[test]
fn a_heartbeat_that_cannot_extend_the_lease_is_not_sent() {
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
fn no_reply_moves_the_end_past_the_hard_deadline() {
    let mut table = Table::default();
    let entry = entry("a", 300, 500);
    let run = entry.run.clone();
    table.insert(entry, || ms(0), all);
    let tick = table.tick(ms(250), all);
    // Measured from when this request was sent, the store's hard deadline seems to be later.
    table.answered(ms(250), &tick.ids, &[kept(50_000, 50_270)]);
    assert_eq!(run.authority.deadline(), ms(500));
    table.tick(ms(500), all);
    assert_eq!(run.authority.lost(), Some(Lost::HardDeadline));
}

#[test]
fn a_lost_grant_is_signalled_once_and_gets_no_more_heartbeats() {
    let mut table = Table::default();
    let entry = entry("a", 300, 9000);
    let run = entry.run.clone();
    let authority = &run.authority;
    table.insert(entry, || ms(0), all);
    let tick = table.tick(ms(100), all);
    let reply = kept(0, 0).map(|_| HeartbeatReply::Lost(LostReason::Lapsed));
    table.answered(ms(100), &tick.ids, &[reply]);
    assert_eq!(authority.lost(), Some(Lost::HeartbeatTimeout));
    assert_eq!(table.tick(ms(250), all), Tick { ids: vec![], beats: vec![], wake: None });
}
