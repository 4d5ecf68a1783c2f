//! Redis' own keys, which the suite cannot see: what expires and when, what stands in which index, and what a purge leaves.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use sentinel_conformance::Bench as _;
use sentinel_core::operation::*;
use sentinel_core::store::{List, Purge, Shown};
use sentinel_core::{
    Accepts, Address, Applied, ClaimId, CoordinationStore as _, ErrorKind, Fingerprint, Grant, Kind, OpId,
    Payload, Recorded, State,
};
use sentinel_testbed::redis;

use crate::rig::{DAY, HARD, REST, Rig, TTL, call, fused, kept, label, letter, result, server_time, wordy};

/// When a key expires, in microseconds; None: never.
fn expiry(rig: &Rig, key: &str) -> Option<i64> {
    match rig.raw(&["PEXPIRETIME", key]).parse::<i64>().unwrap() {
        -1 => None,
        -2 => panic!("there is no {key}"),
        millis => Some(millis * 1000),
    }
}

/// Whether the record expires. A list of its events, if it has one, goes when the record goes.
fn expires(rig: &Rig, address: &Address) -> bool {
    let [record, events] = ['r', 'v'].map(|what| rig.key(what, address));
    let goes = expiry(rig, &record).is_some();
    if rig.raw(&["EXISTS", &events]) == "1" {
        assert_eq!(goes, expiry(rig, &events).is_some(), "a record and its events go together");
    }
    goes
}

async fn force_completed(rig: &Rig, address: &Address, claim: &Claim) {
    let token = rig.taken(address, claim).await;
    let (op_id, operator, reason) = (OpId::random(), label("olga"), Some(label("why")));
    let decision = ForceComplete { op_id, token, operator, reason, result: result("found"), as_is: false };
    rig.change(address, decision).await;
}

/// What is undecided, free, or kept for ever never expires, whatever it said of its retention; a result that is kept for a
/// while does.
pub(crate) async fn only_a_kept_result_expires(rig: &Rig, how: &str) {
    let at = ["claimed", "executing", "held", "free", "reset", "ever", "lease"].map(|key| rig.execution(key));
    let [claimed, executing, held, free, reset, ever, lease] = &at;
    let kept = || if how == "wordy" { wordy(kept()) } else { kept() };
    rig.granted(claimed, &Claim { phase: Phase::Claimed, ..kept() }).await;
    let grant = rig.granted(executing, &kept()).await;
    rig.change(
        executing,
        Abandon { grant, cause: label("no contact"), late_effects: std::time::Duration::ZERO },
    )
    .await;
    rig.taken(held, &kept()).await;
    let grant = rig.granted(free, &kept()).await;
    rig.change(free, Release { grant, vouched: true }).await;
    rig.reset(reset).await;
    rig.completed(ever, &Claim { retention: None, ..kept() }).await;
    rig.tombstone(lease).await;
    for address in &at {
        assert!(!expires(rig, address), "{address}");
    }
    let (done, found) = (rig.execution("done"), rig.execution("found"));
    rig.completed(&done, &kept()).await;
    force_completed(rig, &found, &kept()).await;
    assert!(expires(rig, &done) && expires(rig, &found));
}

/// The server deletes what is over, and not before it has been over for an hour.
pub(crate) async fn a_result_expires_an_hour_after_its_retention(rig: &Rig, how: &str) {
    let address = rig.execution("k");
    let before = server_time();
    match how {
        "force_complete" => force_completed(rig, &address, &kept()).await,
        "wordy" => _ = rig.completed(&address, &wordy(kept())).await,
        _ => _ = rig.completed(&address, &kept()).await,
    }
    let after = server_time();
    let wait = i64::try_from((DAY + HARD).as_micros()).unwrap();
    for what in if how == "wordy" { "rv".chars() } else { "r".chars() } {
        let at = expiry(rig, &rig.key(what, &address)).unwrap();
        assert!(
            before + wait <= at && at <= after + wait + 2000,
            "{what} goes at {at}, not {wait} after {before}"
        );
    }
}

/// A run past the retention of the last one is undecided: it stays, and so does what is told of both.
pub(crate) async fn a_claim_past_retention_stays(rig: &Rig, how: &str) {
    let address = rig.execution("k");
    rig.completed(&address, &if how == "wordy" { wordy(kept()) } else { kept() }).await;
    assert!(expires(rig, &address));
    rig.advance(DAY).await;
    rig.granted(&address, &call()).await;
    assert!(!expires(rig, &address));
    assert_eq!(rig.story(&address).await, ["claimed", "completed", "claimed"]);
}

/// The keys in index, undecided and due, with the instants of the last; without the names that are no key's.
pub(crate) fn shelves(rig: &Rig, kind: Kind) -> [String; 3] {
    let named = |what: &str| rig.named(&format!("{what}:{}", letter(kind)));
    let all = |what: &str| rig.raw(&["ZRANGEBYLEX", &named(what), "[ ", "+"]);
    let due = rig.raw(&["ZRANGE", &named("due"), "0", "-1", "WITHSCORES"]);
    [all("index"), all("undecided"), due.replace('\n', " ")]
}

/// Every record stands in the index, those that somebody has to decide beside it, and those that a purge may delete with the
/// instant from which it may.
pub(crate) async fn each_state_stands_in_its_index(rig: &Rig, how: &str) {
    let address = if how == "lease" { rig.lease("k") } else { rig.execution("k") };
    let held = |shelves: [String; 3]| assert_eq!(shelves, ["k", "k", ""]);
    let due =
        |shelves: [String; 3], at: u64| assert_eq!(shelves, ["k".into(), String::new(), format!("k {at}")]);
    let seen = || shelves(rig, address.kind);
    let rested = async || (rig.record(&address).await.last_now.plus(HARD)).as_micros() + 1;
    assert_eq!(seen(), ["", "", ""]);
    rig.change(&address, Cancel { claim_id: ClaimId::random() }).await;
    due(seen(), rested().await);
    let grant = rig.granted(&address, &call()).await;
    held(seen());
    rig.change(&address, Release { grant, vouched: false }).await;
    due(seen(), rested().await);
    rig.change(&address, Cancel { claim_id: ClaimId::random() }).await;
    due(seen(), rested().await);
    if address.kind == Kind::Execution {
        let brief = Claim { retention: Some(TTL), ..fused() };
        rig.completed(&address, &brief).await;
        due(seen(), rested().await);
        rig.advance(TTL).await;
        rig.completed(&address, &kept()).await;
        due(seen(), rig.record(&address).await.completed_at.unwrap().plus(DAY).as_micros());
        rig.advance(DAY).await;
        rig.taken(&address, &kept()).await;
        held(seen());
        let ever = rig.execution("k2");
        rig.completed(&ever, &fused()).await;
        assert_eq!(seen(), ["k\nk2", "k", ""]);
        return;
    }
    rig.advance(REST).await;
    assert_eq!(rig.purge().await, 1);
    let [listed, undecided, left] = seen();
    assert_eq!([listed, undecided], ["", ""]);
    assert!(left.starts_with("k "), "the event that is left is due later: {left:?}");
    rig.advance(REST).await;
    assert_eq!((rig.purge().await, seen()), (0, Default::default()));
    assert!(rig.story(&address).await.is_empty(), "the event that is left has rested");
}

/// Few that are undecided are found as fast as many.
pub(crate) async fn the_undecided_are_a_tree(rig: &Rig, _: &str) {
    for (address, name) in [(rig.execution("k"), "undecided:e"), (rig.lease("k"), "undecided:l")] {
        rig.change(&address, call()).await;
        assert_eq!(rig.raw(&["OBJECT", "ENCODING", &rig.named(name)]), "skiplist");
        let (namespace, kind, state) = (rig.namespace.clone(), address.kind, Some(Shown::Claimed));
        let list = List { namespace, kind, state, after: None, limit: 1 };
        assert_eq!(rig.store.list(&list).await.unwrap().records[0].0, address.key);
    }
}

async fn listed(rig: &Rig, state: Option<Shown>) -> usize {
    let (namespace, kind) = (rig.namespace.clone(), Kind::Execution);
    rig.store
        .list(&List { namespace, kind, state, after: None, limit: List::MAX })
        .await
        .unwrap()
        .records
        .len()
}

/// A record that expired is on no page, and a purge strikes its key off; it is none that was purged, and a dry run leaves it.
pub(crate) async fn an_expired_key_is_struck_off(rig: &Rig, _: &str) {
    let address = rig.execution("k");
    rig.completed(&address, &kept()).await;
    rig.lose(&address);
    assert_eq!(listed(rig, None).await, 0);
    rig.advance(DAY).await;
    let before = shelves(rig, Kind::Execution);
    assert_eq!((rig.purged(true).await.records, shelves(rig, Kind::Execution)), (0, before));
    assert_eq!((rig.purge().await, shelves(rig, Kind::Execution)), (0, Default::default()));
    assert_eq!(rig.story(&address).await, <[&str; 0]>::default());
}

/// Record and events go at once; the event that tells of it stays for two hours.
pub(crate) async fn what_a_purge_leaves_expires(rig: &Rig, _: &str) {
    let address = rig.execution("k");
    rig.tombstone(&address).await;
    rig.advance(REST).await;
    let before = server_time();
    assert_eq!(rig.purge().await, 1);
    let after = server_time();
    let [record, events, gone] = ['r', 'v', 'g'].map(|what| rig.key(what, &address));
    assert_eq!(rig.raw(&["EXISTS", &record, &events]), "0");
    let (wait, at) = (2 * i64::try_from(HARD.as_micros()).unwrap(), expiry(rig, &gone).unwrap());
    assert!(before + wait - 1000 <= at && at <= after + wait, "it goes at {at}, not {wait} after {before}");
}

/// The index of what is due is a hint: whether a record may go is asked of the record, and a purge ends in any case.
pub(crate) async fn a_stale_entry_is_judged_again(rig: &Rig, _: &str) {
    let at = ["claimed", "executing", "held", "ever", "reset", "free", "kept"].map(|key| rig.execution(key));
    rig.granted(&at[0], &call()).await;
    rig.granted(&at[1], &kept()).await;
    rig.taken(&at[2], &kept()).await;
    rig.completed(&at[3], &fused()).await;
    rig.reset(&at[4]).await;
    rig.advance(DAY).await;
    rig.tombstone(&at[5]).await;
    rig.completed(&at[6], &kept()).await;
    for address in &at {
        rig.raw(&["ZADD", &rig.named("due:e"), "1", address.key.as_str()]);
    }
    assert_eq!((rig.purged(true).await.records, rig.purge().await), (0, 0));
    for address in &at {
        assert!(!rig.record(address).await.is_absent(), "{address}");
    }
}

/// A bucket that was forgotten, or is another store's, answers nothing and takes nothing.
pub(crate) async fn a_bucket_without_its_marker_answers_nothing(rig: &Rig, how: &str) {
    let (address, other) = (rig.execution("k"), rig.execution("other"));
    let grant = rig.granted(&address, &call()).await;
    rig.tombstone(&rig.execution("free")).await;
    let before = rig.record(&address).await;
    rig.advance(REST).await;
    let marker = rig.named("marker");
    let was = rig.raw(&["GET", &marker]);
    match how {
        "gone" => rig.raw(&["DEL", &marker]),
        _ => rig.raw(&["SET", &marker, "another"]),
    };
    let purge = Purge { namespace: rig.namespace.clone(), limit: 1, dry_run: false };
    let list =
        List { namespace: rig.namespace.clone(), kind: Kind::Execution, state: None, after: None, limit: 1 };
    let refused = [
        rig.store.claim(&other, &call()).await.err(),
        rig.store.begin(&address, &Begin { grant }).await.err(),
        rig.store.heartbeat(&[Beat { address: address.clone(), grant }]).await.err(),
        rig.store.purge(&purge).await.err(),
        rig.store.list(&list).await.err(),
    ];
    for error in refused {
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::DataLoss));
    }
    rig.raw(&["SET", &marker, &was]);
    assert_eq!(rig.record(&address).await, before);
    assert!(rig.record(&other).await.is_absent());
    assert_eq!(rig.story(&rig.execution("free")).await, ["claimed", "released"]);
}

/// A reply that rests on an earlier write has one of its own to wait for, and where there is a write already, no other.
pub(crate) async fn a_barrier_has_a_write_to_wait_for(rig: &Rig, _: &str) {
    let touched = || rig.raw(&["DEL", &rig.named("touch")]) == "1";
    let (address, lease, claim) = (rig.execution("k"), rig.lease("l"), fused());
    rig.record(&address).await;
    assert!(!touched(), "a read marks no namespace");
    rig.granted(&rig.execution("first"), &call()).await;
    assert!(touched(), "a new namespace was marked");
    let grant = rig.granted(&address, &claim).await;
    assert!(!touched(), "the grant is the write");
    rig.granted(&address, &claim).await;
    assert!(touched(), "nothing else was written");
    rig.ask(&address, Begin { grant }).await;
    assert!(touched(), "a repeated begin");
    let held = rig.granted(&lease, &call()).await;
    rig.change(&lease, Release { grant: held, vouched: false }).await;
    rig.ask(&lease, Release { grant: held, vouched: false }).await;
    assert!(!touched(), "nobody waits for what only gives a claim back");
    rig.ask(&lease, Heartbeat { grant: held }).await;
    assert!(touched(), "a beat that is lost");
    let live = rig.granted(&rig.lease("live"), &call()).await;
    let beats = [("live", live), ("l", held)].map(|(key, grant)| Beat { address: rig.lease(key), grant });
    rig.store.heartbeat(&beats).await.unwrap();
    assert!(!touched(), "one of them is written");
    rig.store.heartbeat(&[Beat { address: address.clone(), grant: held }]).await.unwrap();
    assert!(!touched(), "nobody waits for this one");
    listed(rig, None).await;
    assert!(!touched(), "nor for a page");
    rig.change(
        &address,
        Abandon { grant, cause: label("no contact"), late_effects: std::time::Duration::ZERO },
    )
    .await;
    assert!(!touched(), "the doubt is the write");
    rig.ask(&address, Abandon { grant, cause: label("no contact"), late_effects: std::time::Duration::ZERO })
        .await;
    assert!(touched(), "a repeated abandon");
    rig.completed(&rig.execution("done"), &kept()).await;
    assert!(!touched(), "the result is the write");
}

/// A record that cannot be read is told to whoever asked for it, and to nobody who asked beside it.
pub(crate) async fn a_bad_record_stands_alone(rig: &Rig, _: &str) {
    let keys: Vec<Address> = (0..8).map(|n| rig.execution(&format!("k{n}"))).collect();
    rig.raw(&["SET", &rig.key('r', &keys[5]), "not a record"]);
    let claims: Vec<Claim> = keys.iter().map(|_| call()).collect();
    let asked = keys.iter().zip(&claims).map(|(address, claim)| rig.store.claim(address, claim));
    for (n, answer) in futures_util::future::join_all(asked).await.into_iter().enumerate() {
        match answer {
            Ok(told) => assert!(n != 5 && matches!(told.reply, ClaimReply::Granted(_)), "{n}: {told:?}"),
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
        assert_eq!(rig.store.history(address, 9).await.unwrap().len(), 1);
    }
}

/// What ends a run, or changes who may decide, is told to whoever waits for the key; that it is under way is not.
pub(crate) async fn changes_are_told_on_the_channel_of_the_key(rig: &Rig, _: &str) {
    let address = rig.execution("k");
    let channel = rig.key('r', &address);
    let mut listener = redis().command("redis-cli");
    let mut listener = listener.args(["SUBSCRIBE", &channel]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(listener.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.by_ref().take(3).collect::<Vec<_>>(), ["subscribe", &channel, "1"]);
    let grant = rig.granted(&address, &call()).await;
    rig.change(&address, Begin { grant }).await;
    rig.change(&address, Complete { grant, result: result("done") }).await;
    rig.raw(&["PUBLISH", &channel, "that was all"]);
    let told: Vec<String> =
        lines.by_ref().skip(2).step_by(3).take_while(|told| told != "that was all").collect();
    listener.kill().unwrap();
    listener.wait().unwrap();
    assert_eq!(told, [""]);
}

/// A page leaves the bytes of results out, and nothing of what stands before them, however long that is.
pub(crate) async fn a_page_holds_the_longest_texts(rig: &Rig, _: &str) {
    let (address, long) = (rig.execution("k"), label(&"x".repeat(1024)));
    for _ in 0..8 {
        rig.tombstone(&address).await;
    }
    let fingerprint = Some(Fingerprint::new("y".repeat(1024)).unwrap());
    let accepts = Accepts::new([&*"a".repeat(1024)]).unwrap();
    let claim = Claim { worker: long.clone(), fingerprint, accepts, ..fused() };
    let grant = rig.granted(&address, &claim).await;
    rig.change(&address, Abandon { grant, cause: long.clone(), late_effects: std::time::Duration::ZERO })
        .await;
    let (op_id, operator, reason, expect) = (OpId::random(), long.clone(), Some(long.clone()), grant.token);
    let decision = Reconcile { op_id, operator, reason, expect, even_if_alive: false, steal: false };
    let token = rig.change(&address, decision).await.token;
    let (op_id, operator, reason) = (OpId::random(), long.clone(), Some(long));
    let payload = Payload::new(&"z".repeat(1024), vec![0; 100_000]);
    let result = Recorded::success(payload);
    rig.change(&address, ForceComplete { op_id, token, operator, reason, result, as_is: true }).await;
    let mut whole = rig.record(&address).await;
    let result = whole.result.as_mut().unwrap();
    assert_eq!(result.payload.bytes.len(), 100_000);
    result.payload.bytes = Default::default();
    let (namespace, kind) = (rig.namespace.clone(), Kind::Execution);
    let page = rig.store.list(&List { namespace, kind, state: None, after: None, limit: 1 }).await.unwrap();
    assert_eq!(page.records, [(address.key, whole)]);
}

/// Nobody is not a caller whose id is all zeros.
pub(crate) async fn an_id_of_zeros_is_one_like_any(rig: &Rig, _: &str) {
    let (address, zeros) = (rig.execution("k"), ClaimId::from_bits(0));
    let token = rig.reset(&address).await;
    let record = rig.record(&address).await;
    assert!(!record.past_claims.contains(zeros));
    let nobody = Grant { token, claim_id: zeros };
    assert!(!rig.ask(&address, Release { grant: nobody, vouched: true }).await.stamp.changed);
    let grant = rig.granted(&address, &Claim { claim_id: zeros, ..fused() }).await;
    rig.change(&address, Complete { grant, result: result("done") }).await;
}

/// A run after a reset that completes ends what the reset began: past its retention the key is as any other.
pub(crate) async fn a_completed_reset_is_purged(rig: &Rig, _: &str) {
    let address = rig.execution("k");
    rig.reset(&address).await;
    rig.completed(&address, &kept()).await;
    rig.advance(DAY).await;
    rig.tombstone(&address).await;
    rig.advance(REST).await;
    assert_eq!(rig.purge().await, 1);
}

/// A freed claim leaves the tombstone of a reset as it was: it stays.
pub(crate) async fn a_freed_reset_stays(rig: &Rig, how: &str) {
    let address = rig.execution("k");
    rig.reset(&address).await;
    let Grant { token: expect, claim_id } = rig.granted(&address, &call()).await;
    let (op_id, operator, reason) = (OpId::random(), label("olga"), Some(label("why")));
    match how {
        "cancel" => rig.change(&address, Cancel { claim_id }).await,
        _ => rig.change(&address, Evict { op_id, operator, reason, expect }).await,
    };
    rig.advance(DAY).await;
    assert_eq!(rig.purge().await, 0);
    assert!(rig.record(&address).await.after_reset);
}

/// A run past the retention of the last has nothing of its doubt, and is as far as it asked to be.
pub(crate) async fn a_new_run_has_no_doubt(rig: &Rig, _: &str) {
    let address = rig.execution("k");
    let grant = rig.granted(&address, &kept()).await;
    rig.change(
        &address,
        Abandon { grant, cause: label("no contact"), late_effects: std::time::Duration::ZERO },
    )
    .await;
    rig.change(&address, Complete { grant, result: result("done") }).await;
    rig.advance(DAY).await;
    rig.granted(&address, &fused()).await;
    let record = rig.record(&address).await;
    assert_eq!((record.doubt, record.state), (None, State::Executing));
}

/// An op id names one decision of each kind.
pub(crate) async fn a_decision_of_another_kind_is_another(rig: &Rig, _: &str) {
    let address = rig.execution("k");
    let (op_id, operator, reason) = (OpId::random(), label("olga"), None);
    let expect = rig.granted(&address, &call()).await.token;
    rig.change(&address, Evict { op_id, operator: operator.clone(), reason: None, expect }).await;
    let expect = rig.granted(&address, &fused()).await.token;
    let taken = Reconcile { op_id, operator, reason, expect, even_if_alive: true, steal: false };
    rig.change(&address, taken).await;
}

/// A reconcile that is sent again takes nothing again, whatever it is sent with.
pub(crate) async fn a_repeated_reconcile_takes_nothing(rig: &Rig, _: &str) {
    let address = rig.execution("k");
    let (op_id, operator, expect) =
        (OpId::random(), label("olga"), rig.granted(&address, &fused()).await.token);
    let decision = Reconcile { op_id, operator, reason: None, expect, even_if_alive: true, steal: true };
    let taken = rig.change(&address, decision.clone()).await.token;
    for expect in [expect, taken] {
        assert!(!rig.ask(&address, Reconcile { expect, ..decision.clone() }).await.stamp.changed);
    }
}

/// What was not begun needs no vouch, and none is told.
pub(crate) async fn a_needless_vouch_is_not_told(rig: &Rig, _: &str) {
    let address = rig.execution("k");
    let grant = rig.granted(&address, &call()).await;
    rig.change(&address, Release { grant, vouched: true }).await;
}

/// A page that holds nothing tells the time, and so does a look at no record.
pub(crate) async fn reads_tell_the_time(rig: &Rig, _: &str) {
    let now = rig.change(&rig.execution("k"), call()).await.now;
    let (namespace, kind) = (rig.namespace.clone(), Kind::Lease);
    let page = rig.store.list(&List { namespace, kind, state: None, after: None, limit: 9 }).await.unwrap();
    assert_eq!((page.records.len(), page.now), (0, now));
    assert_eq!(rig.store.inspect(&rig.execution("nobody's")).await.unwrap().now, now);
}

/// More than one call of a script takes are claimed, freed and purged as if there were no such limit.
pub(crate) async fn many_keys_are_purged_in_pages(rig: &Rig, _: &str) {
    let keys: Vec<Address> = (0..150).map(|n| rig.execution(&format!("k{n}"))).collect();
    futures_util::future::join_all(keys.iter().map(|address| rig.tombstone(address))).await;
    assert_eq!(listed(rig, Some(Shown::Free)).await, 150);
    let seen = futures_util::future::join_all(keys.iter().map(|address| rig.record(address))).await;
    assert!(seen.iter().all(|record| record.rev == 2));
    rig.advance(REST).await;
    assert_eq!((rig.purged(true).await.records, rig.purge().await), (150, 150));
    // The events that are left go an hour later.
    rig.advance(REST).await;
    assert_eq!((rig.purged(true).await.records, rig.purge().await), (0, 0));
    assert_eq!(shelves(rig, Kind::Execution), <[String; 3]>::default());
}

mod holds {
    crate::mutants::own_tests! {
        only_a_kept_result_expires for "short" "wordy";
        a_result_expires_an_hour_after_its_retention for "complete" "force_complete" "wordy";
        a_claim_past_retention_stays for "short" "wordy";
        the_undecided_are_a_tree;
        each_state_stands_in_its_index for "execution" "lease";
        an_expired_key_is_struck_off;
        what_a_purge_leaves_expires;
        a_stale_entry_is_judged_again;
        a_bucket_without_its_marker_answers_nothing for "gone" "another";
        a_barrier_has_a_write_to_wait_for;
        a_bad_record_stands_alone;
        changes_are_told_on_the_channel_of_the_key;
        a_page_holds_the_longest_texts;
        an_id_of_zeros_is_one_like_any;
        a_completed_reset_is_purged;
        a_freed_reset_stays for "cancel" "evict";
        a_new_run_has_no_doubt;
        a_decision_of_another_kind_is_another;
        a_repeated_reconcile_takes_nothing;
        a_needless_vouch_is_not_told;
        reads_tell_the_time for "while the clock stands";
        many_keys_are_purged_in_pages;
    }
}
