//! Redis' own keys, which the suite cannot see: what expires and when, what is in which index, and what a purge
//! leaves.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use sentinel_conformance::DynHarness as _;
use sentinel_core::operation::*;
use sentinel_core::store::{List, Purge, VisibleState};
use sentinel_core::{
    Accepts, Address, Applied, By, Cause, ClaimId, CoordinationStore as _, ErrorKind, Fingerprint, Grant,
    Kind, OpId, Payload, RecordedResult, Root, State, Token,
};
use sentinel_testbed::redis;

use crate::harness::{
    DAY, HARD, REST, StoreHarness, TTL, call, fused, kept, label, letter, result, server_time, wordy,
};

/// When a key expires, in microseconds; None: never.
fn expiry(harness: &StoreHarness, key: &str) -> Option<i64> {
    match harness.raw(&["PEXPIRETIME", key]).parse::<i64>().unwrap() {
        -1 => None,
        -2 => panic!("there is no {key}"),
        millis => Some(millis * 1000),
    }
}

/// Whether the record expires. A list of its events, if it has one, goes when the record goes.
fn expires(harness: &StoreHarness, address: &Address) -> bool {
    let [record, events] = ['r', 'v'].map(|what| harness.key(what, address));
    let goes = expiry(harness, &record).is_some();
    if harness.raw(&["EXISTS", &events]) == "1" {
        assert_eq!(goes, expiry(harness, &events).is_some(), "a record and its events go together");
    }
    goes
}

async fn force_completed(harness: &StoreHarness, address: &Address, claim: &Claim) {
    let token = harness.taken(address, claim).await;
    let (op_id, operator, reason) = (OpId::random(), label("olga"), Some(label("why")));
    let decision = ForceComplete { op_id, token, operator, reason, result: result("found"), as_is: false };
    harness.change(address, decision).await;
}

/// A record that is undecided, free, or completed without a retention never expires; a result with a retention does.
pub(crate) async fn only_a_kept_result_expires(harness: &StoreHarness, how: &str) {
    let at =
        ["claimed", "executing", "held", "free", "reset", "ever", "lease"].map(|key| harness.execution(key));
    let [claimed, executing, held, free, reset, ever, lease] = &at;
    let kept = || if how == "wordy" { wordy(kept()) } else { kept() };
    harness.granted(claimed, &Claim { phase: Phase::Claimed, ..kept() }).await;
    let grant = harness.granted(executing, &kept()).await;
    harness
        .change(
            executing,
            Abandon { grant, cause: label("no contact"), late_effects: std::time::Duration::ZERO },
        )
        .await;
    harness.taken(held, &kept()).await;
    let grant = harness.granted(free, &kept()).await;
    harness.change(free, Release { grant, vouched: true }).await;
    harness.reset(reset).await;
    harness.completed(ever, &Claim { retention: None, ..kept() }).await;
    harness.tombstone(lease).await;
    for address in &at {
        assert!(!expires(harness, address), "{address}");
    }
    let (done, found) = (harness.execution("done"), harness.execution("found"));
    harness.completed(&done, &kept()).await;
    force_completed(harness, &found, &kept()).await;
    assert!(expires(harness, &done) && expires(harness, &found));
}

/// The server deletes what is over, and not before it has been over for an hour.
pub(crate) async fn a_result_expires_an_hour_after_its_retention(harness: &StoreHarness, how: &str) {
    let address = harness.execution("k");
    let before = server_time();
    match how {
        "force_complete" => force_completed(harness, &address, &kept()).await,
        "wordy" => _ = harness.completed(&address, &wordy(kept())).await,
        _ => _ = harness.completed(&address, &kept()).await,
    }
    let after = server_time();
    let wait = i64::try_from((DAY + HARD).as_micros()).unwrap();
    for what in if how == "wordy" { "rv".chars() } else { "r".chars() } {
        let at = expiry(harness, &harness.key(what, &address)).unwrap();
        assert!(
            before + wait <= at && at <= after + wait + 2000,
            "{what} goes at {at}, not {wait} after {before}"
        );
    }
}

/// A run after the retention of the last one is undecided: it is kept, and so are the events of both.
pub(crate) async fn a_claim_past_retention_stays(harness: &StoreHarness, how: &str) {
    let address = harness.execution("k");
    harness.completed(&address, &if how == "wordy" { wordy(kept()) } else { kept() }).await;
    assert!(expires(harness, &address));
    harness.advance(DAY).await;
    harness.granted(&address, &call()).await;
    assert!(!expires(harness, &address));
    assert_eq!(harness.changes(&address).await, ["claimed", "completed", "claimed"]);
}

/// The keys in index, undecided and due, with the instants of the last; without the names that are no key's.
pub(crate) fn indexes(harness: &StoreHarness, kind: Kind) -> [String; 3] {
    let named = |what: &str| harness.named(&format!("{what}:{}", letter(kind)));
    let all = |what: &str| harness.raw(&["ZRANGEBYLEX", &named(what), "[ ", "+"]);
    let due = harness.raw(&["ZRANGE", &named("due"), "0", "-1", "WITHSCORES"]);
    [all("index"), all("undecided"), due.replace('\n', " ")]
}

/// Every record is in the index, undecided ones also in that of the undecided, and due ones in that of the due, with
/// the instant from which a purge may delete them.
pub(crate) async fn each_state_is_in_its_index(harness: &StoreHarness, how: &str) {
    let address = if how == "lease" { harness.lease("k") } else { harness.execution("k") };
    let held = |indexes: [String; 3]| assert_eq!(indexes, ["k", "k", ""]);
    let due =
        |indexes: [String; 3], at: u64| assert_eq!(indexes, ["k".into(), String::new(), format!("k {at}")]);
    let seen = || indexes(harness, address.kind);
    let rested = async || (harness.record(&address).await.last_now.plus(HARD)).as_micros() + 1;
    assert_eq!(seen(), ["", "", ""]);
    harness.change(&address, Cancel { claim_id: ClaimId::random() }).await;
    due(seen(), rested().await);
    let grant = harness.granted(&address, &call()).await;
    held(seen());
    harness.change(&address, Release { grant, vouched: false }).await;
    due(seen(), rested().await);
    harness.change(&address, Cancel { claim_id: ClaimId::random() }).await;
    due(seen(), rested().await);
    if address.kind == Kind::Execution {
        let brief = Claim { retention: Some(TTL), ..fused() };
        harness.completed(&address, &brief).await;
        due(seen(), rested().await);
        harness.advance(TTL).await;
        harness.completed(&address, &kept()).await;
        due(seen(), harness.record(&address).await.completed_at.unwrap().plus(DAY).as_micros());
        harness.advance(DAY).await;
        harness.taken(&address, &kept()).await;
        held(seen());
        let ever = harness.execution("k2");
        harness.completed(&ever, &fused()).await;
        assert_eq!(seen(), ["k\nk2", "k", ""]);
        return;
    }
    harness.advance(REST).await;
    assert_eq!(harness.purge().await, 1);
    let [listed, undecided, left] = seen();
    assert_eq!([listed, undecided], ["", ""]);
    assert!(left.starts_with("k "), "the event that is left is due later: {left:?}");
    harness.advance(REST).await;
    assert_eq!((harness.purge().await, seen()), (0, Default::default()));
    assert!(harness.changes(&address).await.is_empty(), "the event that is left has rested");
}

/// Few that are undecided are found as fast as many.
pub(crate) async fn the_undecided_index_is_a_tree(harness: &StoreHarness, _: &str) {
    for (address, name) in [(harness.execution("k"), "undecided:e"), (harness.lease("k"), "undecided:l")] {
        harness.change(&address, call()).await;
        assert_eq!(harness.raw(&["OBJECT", "ENCODING", &harness.named(name)]), "skiplist");
        let (namespace, kind, state) = (harness.namespace.clone(), address.kind, Some(VisibleState::Claimed));
        let list = List { namespace, kind, state, after: None, limit: 1 };
        assert_eq!(harness.store.list(&list).await.unwrap().records[0].0, address.key);
    }
}

pub(crate) async fn listed(harness: &StoreHarness, state: Option<VisibleState>) -> usize {
    let (namespace, kind) = (harness.namespace.clone(), Kind::Execution);
    let list = List { namespace, kind, state, after: None, limit: List::MAX };
    harness.store.list(&list).await.unwrap().records.len()
}

/// A record that expired is on no page, and a purge removes its key; it is none that was purged, and a dry run
/// leaves it.
pub(crate) async fn an_expired_key_leaves_its_indexes(harness: &StoreHarness, _: &str) {
    let address = harness.execution("k");
    harness.completed(&address, &kept()).await;
    harness.delete_record(&address);
    assert_eq!(listed(harness, None).await, 0);
    harness.advance(DAY).await;
    let before = indexes(harness, Kind::Execution);
    assert_eq!((harness.purged(true).await.records, indexes(harness, Kind::Execution)), (0, before));
    assert_eq!((harness.purge().await, indexes(harness, Kind::Execution)), (0, Default::default()));
    assert_eq!(harness.changes(&address).await, <[&str; 0]>::default());
}

/// Record and events are deleted at once; the event of the purge is kept for two hours.
pub(crate) async fn the_event_left_by_a_purge_expires(harness: &StoreHarness, _: &str) {
    let address = harness.execution("k");
    harness.tombstone(&address).await;
    harness.advance(REST).await;
    let before = server_time();
    assert_eq!(harness.purge().await, 1);
    let after = server_time();
    let [record, events, gone] = ['r', 'v', 'g'].map(|what| harness.key(what, &address));
    assert_eq!(harness.raw(&["EXISTS", &record, &events]), "0");
    let (wait, at) = (2 * i64::try_from(HARD.as_micros()).unwrap(), expiry(harness, &gone).unwrap());
    assert!(before + wait - 1000 <= at && at <= after + wait, "it goes at {at}, not {wait} after {before}");
}

/// The index of what is due is a hint: whether a record may go is asked of the record, and a purge ends in any case.
pub(crate) async fn a_stale_index_entry_is_checked_again(harness: &StoreHarness, _: &str) {
    let at =
        ["claimed", "executing", "held", "ever", "reset", "free", "kept"].map(|key| harness.execution(key));
    harness.granted(&at[0], &call()).await;
    harness.granted(&at[1], &kept()).await;
    harness.taken(&at[2], &kept()).await;
    harness.completed(&at[3], &fused()).await;
    harness.reset(&at[4]).await;
    harness.advance(DAY).await;
    harness.tombstone(&at[5]).await;
    harness.completed(&at[6], &kept()).await;
    for address in &at {
        harness.raw(&["ZADD", &harness.named("due:e"), "1", address.key.as_str()]);
    }
    assert_eq!((harness.purged(true).await.records, harness.purge().await), (0, 0));
    for address in &at {
        assert!(!harness.record(address).await.is_absent(), "{address}");
    }
}

/// A bucket that was forgotten, or is another store's, answers nothing and takes nothing.
pub(crate) async fn a_bucket_without_its_marker_refuses_every_operation(harness: &StoreHarness, how: &str) {
    let (address, other) = (harness.execution("k"), harness.execution("other"));
    let grant = harness.granted(&address, &call()).await;
    harness.tombstone(&harness.execution("free")).await;
    let before = harness.record(&address).await;
    harness.advance(REST).await;
    let marker = harness.named("marker");
    let was = harness.raw(&["GET", &marker]);
    match how {
        "gone" => harness.raw(&["DEL", &marker]),
        _ => harness.raw(&["SET", &marker, "another"]),
    };
    let purge = Purge { namespace: harness.namespace.clone(), limit: 1, dry_run: false };
    let list = List {
        namespace: harness.namespace.clone(),
        kind: Kind::Execution,
        state: None,
        after: None,
        limit: 1,
    };
    let refused = [
        harness.store.claim(&other, &call()).await.err(),
        harness.store.begin(&address, &Begin { grant }).await.err(),
        harness.store.heartbeat(&[Beat { address: address.clone(), grant }]).await.err(),
        harness.store.purge(&purge).await.err(),
        harness.store.list(&list).await.err(),
    ];
    for error in refused {
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::DataLoss));
    }
    harness.raw(&["SET", &marker, &was]);
    assert_eq!(harness.record(&address).await, before);
    assert!(harness.record(&other).await.is_absent());
    assert_eq!(harness.changes(&harness.execution("free")).await, ["claimed", "released"]);
}

/// A reply that rests on an earlier write has one of its own to wait for, and where there is a write already, no other.
pub(crate) async fn a_barrier_has_a_write_to_wait_for(harness: &StoreHarness, _: &str) {
    let touched = || harness.raw(&["DEL", &harness.named("touch")]) == "1";
    let (address, lease, claim) = (harness.execution("k"), harness.lease("l"), fused());
    harness.record(&address).await;
    assert!(!touched(), "a read marks no namespace");
    harness.granted(&harness.execution("first"), &call()).await;
    assert!(touched(), "a new namespace was marked");
    let grant = harness.granted(&address, &claim).await;
    assert!(!touched(), "the grant is the write");
    harness.granted(&address, &claim).await;
    assert!(touched(), "nothing else was written");
    harness.ask(&address, Begin { grant }).await;
    assert!(touched(), "a repeated begin");
    let held = harness.granted(&lease, &call()).await;
    harness.change(&lease, Release { grant: held, vouched: false }).await;
    harness.ask(&lease, Release { grant: held, vouched: false }).await;
    assert!(!touched(), "no caller waits for what only gives a claim back");
    harness.ask(&lease, Heartbeat { grant: held }).await;
    assert!(touched(), "a beat that is lost");
    let live = harness.granted(&harness.lease("live"), &call()).await;
    let beats = [("live", live), ("l", held)].map(|(key, grant)| Beat { address: harness.lease(key), grant });
    harness.store.heartbeat(&beats).await.unwrap();
    assert!(!touched(), "one of them is written");
    harness.store.heartbeat(&[Beat { address: address.clone(), grant: held }]).await.unwrap();
    assert!(!touched(), "no caller waits for this one");
    listed(harness, None).await;
    assert!(!touched(), "nor for a page");
    harness
        .change(
            &address,
            Abandon { grant, cause: label("no contact"), late_effects: std::time::Duration::ZERO },
        )
        .await;
    assert!(!touched(), "the doubt is the write");
    harness
        .ask(&address, Abandon { grant, cause: label("no contact"), late_effects: std::time::Duration::ZERO })
        .await;
    assert!(touched(), "a repeated abandon");
    harness.completed(&harness.execution("done"), &kept()).await;
    assert!(!touched(), "the result is the write");
}

/// A corrupt record is an error for its own callers only, not for others in the same call.
pub(crate) async fn a_corrupt_record_affects_no_other(harness: &StoreHarness, _: &str) {
    let keys: Vec<Address> = (0..8).map(|n| harness.execution(&format!("k{n}"))).collect();
    harness.raw(&["SET", &harness.key('r', &keys[5]), "not a record"]);
    let claims: Vec<Claim> = keys.iter().map(|_| call()).collect();
    let asked = keys.iter().zip(&claims).map(|(address, claim)| harness.store.claim(address, claim));
    for (n, outcome) in futures_util::future::join_all(asked).await.into_iter().enumerate() {
        match outcome {
            Ok(stamped) => {
                assert!(n != 5 && matches!(stamped.reply, ClaimReply::Granted(_)), "{n}: {stamped:?}")
            }
            Err(error) => {
                assert_eq!(
                    (n, error.applied(), error.kind()),
                    (5, Applied::No, ErrorKind::Corrupt),
                    "{error}"
                );
            }
        }
    }
    for address in keys.iter().enumerate().filter(|(n, _)| *n != 5).map(|(_, address)| address) {
        assert_eq!(harness.store.history(address, 9).await.unwrap().len(), 1);
    }
}

/// Operations that end a run, or change who may decide, notify the waiters of the key; claims and begins do not.
pub(crate) async fn changes_are_published_on_the_channel_of_the_key(harness: &StoreHarness, _: &str) {
    let address = harness.execution("k");
    let channel = harness.key('r', &address);
    let mut listener = redis().command("redis-cli");
    let mut listener = listener.args(["SUBSCRIBE", &channel]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(listener.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.by_ref().take(3).collect::<Vec<_>>(), ["subscribe", &channel, "1"]);
    let grant = harness.granted(&address, &call()).await;
    harness.change(&address, Begin { grant }).await;
    harness.change(&address, Complete { grant, result: result("done") }).await;
    harness.raw(&["PUBLISH", &channel, "that was all"]);
    let reply: Vec<String> =
        lines.by_ref().skip(2).step_by(3).take_while(|reply| reply != "that was all").collect();
    listener.kill().unwrap();
    listener.wait().unwrap();
    assert_eq!(reply, [""]);
}

/// A page omits the bytes of results, and nothing that comes before them, however long that is.
pub(crate) async fn a_page_holds_the_longest_texts(harness: &StoreHarness, _: &str) {
    let (address, long) = (harness.execution("k"), label(&"x".repeat(1024)));
    for _ in 0..8 {
        harness.tombstone(&address).await;
    }
    let fingerprint = Some(Fingerprint::new("y".repeat(1024)).unwrap());
    let accepts = Accepts::new([&*"a".repeat(1024)]).unwrap();
    let by = By { address: harness.execution(&"%".repeat(512)), token: Token::MAX };
    let cause = Cause::new(Root::new("%".repeat(128)).unwrap()).child(by).unwrap();
    let (cause, about) = (Some(cause), Some(long.clone()));
    let claim = Claim { worker: long.clone(), fingerprint, accepts, cause, about, ..fused() };
    let grant = harness.granted(&address, &claim).await;
    harness
        .change(&address, Abandon { grant, cause: long.clone(), late_effects: std::time::Duration::ZERO })
        .await;
    let (op_id, operator, reason, expect) = (OpId::random(), long.clone(), Some(long.clone()), grant.token);
    let decision = Reconcile { op_id, operator, reason, expect, even_if_alive: false, steal: false };
    let token = harness.change(&address, decision).await.token;
    let (op_id, operator, reason) = (OpId::random(), long.clone(), Some(long));
    let payload = Payload::new(&"z".repeat(1024), vec![0; 100_000]);
    let result = RecordedResult::success(payload);
    harness.change(&address, ForceComplete { op_id, token, operator, reason, result, as_is: true }).await;
    let mut whole = harness.record(&address).await;
    let result = whole.result.as_mut().unwrap();
    assert_eq!(result.payload.bytes.len(), 100_000);
    result.payload.bytes = Default::default();
    let (namespace, kind) = (harness.namespace.clone(), Kind::Execution);
    let page =
        harness.store.list(&List { namespace, kind, state: None, after: None, limit: 1 }).await.unwrap();
    assert_eq!(page.records, [(address.key, whole)]);
}

/// An absent holder is not a caller whose id is all zeros.
pub(crate) async fn an_id_of_zeros_is_valid(harness: &StoreHarness, _: &str) {
    let (address, zeros) = (harness.execution("k"), ClaimId::from_bits(0));
    let token = harness.reset(&address).await;
    let record = harness.record(&address).await;
    assert!(!record.past_claims.contains(zeros));
    let no_one = Grant { token, claim_id: zeros };
    assert!(!harness.ask(&address, Release { grant: no_one, vouched: true }).await.stamp.changed);
    let grant = harness.granted(&address, &Claim { claim_id: zeros, ..fused() }).await;
    harness.change(&address, Complete { grant, result: result("done") }).await;
}

/// A run after a reset that completes ends what the reset began: past its retention the key is as any other.
pub(crate) async fn a_completed_reset_is_purged(harness: &StoreHarness, _: &str) {
    let address = harness.execution("k");
    harness.reset(&address).await;
    harness.completed(&address, &kept()).await;
    harness.advance(DAY).await;
    harness.tombstone(&address).await;
    harness.advance(REST).await;
    assert_eq!(harness.purge().await, 1);
}

/// A freed claim leaves the tombstone of a reset as it was: it stays.
pub(crate) async fn a_freed_reset_is_not_purged(harness: &StoreHarness, how: &str) {
    let address = harness.execution("k");
    harness.reset(&address).await;
    let Grant { token: expect, claim_id } = harness.granted(&address, &call()).await;
    let (op_id, operator, reason) = (OpId::random(), label("olga"), Some(label("why")));
    match how {
        "cancel" => harness.change(&address, Cancel { claim_id }).await,
        _ => harness.change(&address, Evict { op_id, operator, reason, expect }).await,
    };
    harness.advance(DAY).await;
    assert_eq!(harness.purge().await, 0);
    assert!(harness.record(&address).await.after_reset);
}

/// A run past the retention of the last has nothing of its doubt, and is as far as it asked to be.
pub(crate) async fn a_new_run_has_no_doubt(harness: &StoreHarness, _: &str) {
    let address = harness.execution("k");
    let grant = harness.granted(&address, &kept()).await;
    harness
        .change(
            &address,
            Abandon { grant, cause: label("no contact"), late_effects: std::time::Duration::ZERO },
        )
        .await;
    harness.change(&address, Complete { grant, result: result("done") }).await;
    harness.advance(DAY).await;
    harness.granted(&address, &fused()).await;
    let record = harness.record(&address).await;
    assert_eq!((record.doubt, record.state), (None, State::Executing));
}

/// An op id names one decision of each kind.
pub(crate) async fn a_decision_of_another_kind_is_another(harness: &StoreHarness, _: &str) {
    let address = harness.execution("k");
    let (op_id, operator, reason) = (OpId::random(), label("olga"), None);
    let expect = harness.granted(&address, &call()).await.token;
    harness.change(&address, Evict { op_id, operator: operator.clone(), reason: None, expect }).await;
    let expect = harness.granted(&address, &fused()).await.token;
    let taken = Reconcile { op_id, operator, reason, expect, even_if_alive: true, steal: false };
    harness.change(&address, taken).await;
}

/// A reconcile that is sent again takes nothing again, whatever it is sent with.
pub(crate) async fn a_repeated_reconcile_changes_nothing(harness: &StoreHarness, _: &str) {
    let address = harness.execution("k");
    let (op_id, operator, expect) =
        (OpId::random(), label("olga"), harness.granted(&address, &fused()).await.token);
    let decision = Reconcile { op_id, operator, reason: None, expect, even_if_alive: true, steal: true };
    let taken = harness.change(&address, decision.clone()).await.token;
    for expect in [expect, taken] {
        assert!(!harness.ask(&address, Reconcile { expect, ..decision.clone() }).await.stamp.changed);
    }
}

/// A claim that was not begun needs no vouch, and none is recorded.
pub(crate) async fn a_needless_vouch_is_not_recorded(harness: &StoreHarness, _: &str) {
    let address = harness.execution("k");
    let grant = harness.granted(&address, &call()).await;
    harness.change(&address, Release { grant, vouched: true }).await;
}

/// An empty page returns the time, and so does the inspection of an absent record.
pub(crate) async fn reads_return_the_time(harness: &StoreHarness, _: &str) {
    let now = harness.change(&harness.execution("k"), call()).await.now;
    let (namespace, kind) = (harness.namespace.clone(), Kind::Lease);
    let page =
        harness.store.list(&List { namespace, kind, state: None, after: None, limit: 9 }).await.unwrap();
    assert_eq!((page.records.len(), page.now), (0, now));
    assert_eq!(harness.store.inspect(&harness.execution("absent")).await.unwrap().now, now);
}

mod checks {
    crate::mutants::own_tests! {
        only_a_kept_result_expires for "short" "wordy";
        a_result_expires_an_hour_after_its_retention for "complete" "force_complete" "wordy";
        a_claim_past_retention_stays for "short" "wordy";
        the_undecided_index_is_a_tree;
        each_state_is_in_its_index for "execution" "lease";
        an_expired_key_leaves_its_indexes;
        the_event_left_by_a_purge_expires;
        a_stale_index_entry_is_checked_again;
        a_bucket_without_its_marker_refuses_every_operation for "gone" "another";
        a_barrier_has_a_write_to_wait_for;
        a_corrupt_record_affects_no_other;
        changes_are_published_on_the_channel_of_the_key;
        a_page_holds_the_longest_texts;
        an_id_of_zeros_is_valid;
        a_completed_reset_is_purged;
        a_freed_reset_is_not_purged for "cancel" "evict";
        a_new_run_has_no_doubt;
        a_decision_of_another_kind_is_another;
        a_repeated_reconcile_changes_nothing;
        a_needless_vouch_is_not_recorded;
        reads_return_the_time for "with a fixed clock";
    }
}
