//! Spec §3, purge: what it deletes, in which order, and when it is repeated or interrupted.

use sentinel_core::operation::*;
use sentinel_core::{Change, ClaimId, Key, PURGE_REST, Record, State, Token};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};
use crate::coordination::matrix::dropped::polled;
use crate::diff::{assert_eq, same};

/// A tombstone, and the token that it keeps.
async fn tombstone(key: &Subject<'_>) -> Token {
    let grant = key.granted(&call("ann")).await;
    expect_reply!(key.release(grant).await, ReleaseReply::Released);
    grant.token
}

/// A call whose result is kept for a while.
fn brief(worker: &str) -> Claim {
    Claim { retention: Some(HALF), ..call(worker) }
}

/// Records as they are now.
async fn records(keys: &[&Subject<'_>]) -> Vec<Record> {
    let mut all = Vec::new();
    for key in keys {
        all.push(key.record().await);
    }
    all
}

/// The execution and the lease of a key are two records: deleting one never deletes the other, in any state.
pub(crate) async fn a_purge_decides_about_execution_and_lease_of_a_key_separately(context: &LawContext) {
    let execution = |name: &str| context.execution(name);
    let lease = |name: &str| context.lease(name);
    for name in ["held lease", "claimed", "executing", "uncertain", "reconciling", "completed"] {
        if name == "held lease" {
            tombstone(&execution(name)).await;
        } else {
            tombstone(&lease(name)).await;
        }
    }
    lease("held lease").granted(&call("ann")).await;
    execution("claimed").granted(&call("ann")).await;
    execution("executing").begun(&call("ann")).await;
    execution("uncertain").abandoned(&call("ann")).await;
    let doubt = execution("reconciling").abandoned(&call("ann")).await;
    execution("reconciling").taken(&reconcile("olga", doubt.token)).await;
    execution("completed").completed(&call("ann"), &result("x")).await;
    let stay = [
        lease("held lease"),
        execution("claimed"),
        execution("executing"),
        execution("uncertain"),
        execution("reconciling"),
        execution("completed"),
    ];
    let stay: Vec<&Subject<'_>> = stay.iter().collect();
    let before = records(&stay).await;
    context.advance(REST).await;
    assert_eq!(context.purge_with(u32::MAX, true).await.records, 6);
    let purged = context.purge().await;
    assert_eq!((purged.records, purged.more), (6, false));
    same("what stays", &before, &records(&stay).await);
    assert!(execution("held lease").record().await.is_absent());
    for key in &stay[1..] {
        assert!(
            context.lease(key.address.key.as_str()).record().await.is_absent(),
            "the lease {}",
            key.address.key
        );
    }
}

/// A record that changed or was created again meanwhile is not deleted, whatever an earlier read or an earlier life of
/// the key showed.
pub(crate) async fn a_purge_does_not_delete_a_record_that_changed_meanwhile(context: &LawContext) {
    let at = |name: &str| context.execution(name);
    let (freed, lease, purged, kept) = (at("freed"), context.lease("freed"), at("purged"), at("kept"));
    let (again, longer, given_back) = (at("again"), at("longer"), at("given back"));
    for key in [&freed, &lease, &purged, &given_back] {
        tombstone(key).await;
    }
    for key in [&kept, &again, &longer] {
        key.completed(&brief("ann"), &result("first")).await;
    }
    context.advance(REST).await;
    assert_eq!(context.purge_with(u32::MAX, true).await.records, 7, "all of them may go");
    context.forget();
    assert_eq!(context.purge_with(1, false).await.records, 1);
    // Whichever went, all of them return.
    for key in [&freed, &purged] {
        key.begun(&call("bob")).await;
    }
    lease.granted(&call("bob")).await;
    kept.begun(&brief("bob")).await;
    again.completed(&call("bob"), &result("second")).await;
    longer.completed(&Claim { retention: Some(KEPT), ..call("bob") }, &result("second")).await;
    tombstone(&given_back).await;
    let all = [&freed, &lease, &purged, &kept, &again, &longer, &given_back];
    let before = records(&all).await;
    for wait in [HALF, PURGE_REST - HALF * 2] {
        context.advance(wait).await;
        assert_eq!(
            context.purge().await.records,
            0,
            "a record that was created again is less than an hour old"
        );
        same("what returned", &before, &records(&all).await);
    }
    context.advance(HALF * 4).await;
    assert_eq!(
        context.purge().await.records,
        1,
        "the tombstone is more than an hour old, and the others are held or kept"
    );
    same("what returned", &before[..6].to_vec(), &records(&all[..6]).await);
    expect_reply!(
        again.claim(&call("eve")).await,
        ClaimReply::Completed { result: got, .. } if got == result("second")
    );
    expect_reply!(
        longer.claim(&call("eve")).await,
        ClaimReply::Completed { result: got, .. } if got == result("second")
    );
}

/// A key that is claimed again after a purge has a new life: later purges do not delete its events, however old they
/// are.
pub(crate) async fn a_key_claimed_again_after_a_purge_keeps_its_new_history(context: &LawContext) {
    for key in [context.execution("k"), context.lease("k")] {
        tombstone(&key).await;
        context.advance(REST).await;
        assert_eq!(context.purge().await.records, 1);
        let grant = key.granted(&call("bob")).await;
        for _ in 0..3 {
            context.advance(REST).await;
            assert_eq!(context.purge().await.records, 0);
            let changes = key.changes().await;
            same("the last event", &Some(&"claimed"), &changes.last());
            key.assert_rebuilt().await;
        }
        expect_reply!(key.release(grant).await, ReleaseReply::Released);
        assert_eq!(key.changes().await.iter().filter(|name| **name != "purged").count(), 2);
        key.assert_rebuilt().await;
        let rev = key.record().await.rev;
        context.advance(REST).await;
        assert_eq!(context.purge().await.records, 1);
        let events = key.events().await;
        let [event] = events.as_slice() else { panic!("one event remains, not {events:?}") };
        same("the event of the second purge", &(Change::Purged, rev + 1), &(event.change.clone(), event.rev));
    }
}

/// A floor is the highest token that was purged, whichever record was deleted first: in one purge or in several.
/// Without `set_back` this law is checked in part or not at all.
pub(crate) async fn a_floor_does_not_depend_on_the_order_of_purges(context: &LawContext) {
    // Names in the order of their tokens, and when each is released: the highest is deleted first, last and between.
    for (names, rests) in
        [(["a", "b", "c"], [2, 1, 0]), (["c", "b", "a"], [2, 1, 0]), (["b", "c", "a"], [0, 2, 1])]
    {
        for limit in [1, u32::MAX] {
            let context = context.apart();
            let mut held = Vec::new();
            for name in names {
                let key = if name == "b" { context.lease(name) } else { context.execution(name) };
                held.push((key.clone(), key.granted(&call("ann")).await));
                context.advance(HALF / 5).await;
            }
            for turn in 0..3 {
                let which = rests.iter().position(|rest| *rest == turn).expect("each turn has one");
                expect_reply!(held[which].0.release(held[which].1).await, ReleaseReply::Released);
                context.advance(HALF / 5).await;
                if turn < 2 && limit == 1 {
                    context.advance(HALF).await;
                }
            }
            context.advance(PURGE_REST - HALF).await;
            let mut count = 0;
            for _ in 0..12 {
                context.advance(HALF / 2).await;
                count += context.purge_with(limit, false).await.records;
            }
            assert_eq!(count, 3);
            if !context.set_back(REST * 4).await {
                return;
            }
            let highest = held.iter().map(|(_, grant)| grant.token).max().expect("three");
            for key in [context.execution("another"), context.lease("a"), context.execution("a")] {
                let next = key.granted(&call("bob")).await.token;
                assert!(
                    next > highest,
                    "{next} was drawn after {highest} was purged, in the order {names:?}"
                );
            }
            context.advance(REST * 4).await;
        }
    }
}

/// A purge that is dropped at any of its polls leaves no record deleted whose token is not below the floor. Without
/// `set_back` this law is checked in part or not at all.
pub(crate) async fn a_dropped_purge_leaves_no_deleted_token_above_the_floor(context: &LawContext) {
    for polls in 1..20 {
        let context = context.apart();
        let keys = [context.execution("a"), context.lease("b"), context.execution("c")];
        let mut tokens = Vec::new();
        for key in &keys {
            tokens.push(tombstone(key).await);
        }
        context.advance(REST).await;
        context.forget();
        let purge = sentinel_core::store::Purge {
            namespace: context.namespace().clone(),
            limit: u32::MAX,
            dry_run: false,
        };
        let was_ready = polled(polls, context.store().purge(&purge)).await.is_some();
        if !context.set_back(REST * 2).await {
            return;
        }
        for (key, token) in keys.iter().zip(tokens) {
            let next = key.granted(&call("bob")).await.token;
            assert!(
                next > token,
                "{next} was drawn after {token}, where a purge was dropped at poll {polls}"
            );
        }
        if was_ready {
            return;
        }
        context.advance(REST * 2).await;
    }
}

/// A purge in small steps deletes each key once, whatever its letters and length, reports that there is more while
/// there is, and ends.
pub(crate) async fn a_purge_in_steps_deletes_each_key_once(context: &LawContext) {
    let long = "k".repeat(Key::MAX_BYTES - 1);
    let mut names: Vec<String> = (0..20).map(|n| format!("{n:02}")).collect();
    names.extend((0..8).map(|n| format!("{}{n}", &long[..long.len() - 60 * n])));
    let odd = [
        "%", "_", "a%", "a", "A", "é", "e\u{301}", "😀", "\u{ffff}", " ", "'", "\\", "*", "{a}b", "a:b", "\"",
    ];
    names.extend(odd.map(str::to_owned));
    let mut keys = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let (going, held) = if n.is_multiple_of(2) {
            (context.execution(name), context.lease(name))
        } else {
            (context.lease(name), context.execution(name))
        };
        tombstone(&going).await;
        held.granted(&call("ann")).await;
        keys.push((going, held));
    }
    context.advance(REST).await;
    let (mut total, mut steps) = (0, 0);
    loop {
        let purged = context.purge_with(7, false).await;
        (total, steps) = (total + purged.records, steps + 1);
        assert!(purged.records <= 7, "{} records over a limit of 7", purged.records);
        assert!(
            purged.more || total == names.len() as u64,
            "no more is reported after {total} of {}",
            names.len()
        );
        assert!(steps <= names.len(), "more is reported without an end");
        if !purged.more {
            break;
        }
    }
    assert_eq!(total, names.len() as u64);
    assert_eq!(context.purge_with(7, false).await.records, 0);
    for (gone, held) in keys {
        assert!(gone.record().await.is_absent(), "{} may go", gone.address);
        assert_eq!(gone.changes().await, ["purged"], "{}", gone.address);
        assert_eq!(held.record().await.state, State::Claimed, "{} is held", held.address);
    }
}

/// A backlog that is larger than a page is purged completely: a purge that stops earlier reports that there is more.
pub(crate) async fn a_large_backlog_is_purged_completely(context: &LawContext) {
    /// More than any page or batch holds.
    const MANY: usize = 1_057;
    let cancel = |n: usize| {
        (context.execution(&format!("k{n:04}")).address, Cancel { claim_id: ClaimId::random() }.into())
    };
    context.each((0..MANY).map(cancel).collect()).await;
    context.advance(REST).await;
    let mut total = 0;
    for _ in 0..=MANY {
        let dry = context.purge_with(u32::MAX, true).await;
        let found = total + dry.records;
        assert!(dry.more || found == MANY as u64, "a dry run found {found} of {MANY}, and no more");
        let purged = context.purge_with(u32::MAX, false).await;
        total += purged.records;
        if !purged.more {
            break;
        }
    }
    assert_eq!(total, MANY as u64);
    assert!(context.execution("k0000").record().await.is_absent());
    assert!(context.execution(&format!("k{:04}", MANY - 1)).record().await.is_absent());
}

/// The limit counts what is deleted: records that stay do not count, wherever they are.
pub(crate) async fn records_that_stay_do_not_count_towards_the_limit(context: &LawContext) {
    for name in ["m", "n"] {
        tombstone(&context.execution(name)).await;
    }
    context.advance(REST).await;
    for n in 0..12 {
        for before in ["a", "z"] {
            let key = |what: &str| context.execution(&format!("{before}{n} {what}"));
            key("held").granted(&call("ann")).await;
            key("kept").completed(&Claim { retention: Some(KEPT), ..call("ann") }, &result("x")).await;
            tombstone(&key("young")).await;
            context.lease(&format!("{before}{n}")).granted(&call("ann")).await;
        }
    }
    for (dry_run, records) in [(true, 1), (false, 1), (true, 1), (false, 1), (false, 0)] {
        let purged = context.purge_with(1, dry_run).await;
        assert_eq!(purged.records, records, "of two that may go, one by one");
    }
    for name in ["m", "n"] {
        assert!(context.execution(name).record().await.is_absent());
    }
}

/// A result is deleted from the end of its retention on, and not before, if it has not changed for over an hour by
/// then.
pub(crate) async fn a_result_is_purged_exactly_from_the_end_of_its_retention(context: &LawContext) {
    let micro = std::time::Duration::from_micros(1);
    for wait in [KEPT - micro, KEPT, KEPT + micro] {
        let context = context.apart();
        let key = context.execution("k");
        key.completed(&Claim { retention: Some(KEPT), ..call("ann") }, &result("x")).await;
        let over = key.record().await.completed_at.expect("completed").plus(KEPT);
        context.advance(wait).await;
        let before = key.now().await;
        let purged = context.purge().await.records == 1;
        let after = key.now().await;
        assert!(purged || before < over, "the retention is over, and the result stays");
        assert!(!purged || after >= over, "purged before its retention was over");
    }
}

/// A result with a retention of zero is deleted after an hour without change, like any other.
pub(crate) async fn a_result_with_no_retention_is_purged_after_an_hour(context: &LawContext) {
    let key = context.execution("k");
    key.completed(&Claim { retention: Some(std::time::Duration::ZERO), ..call("ann") }, &result("x")).await;
    assert_eq!(context.purge().await.records, 0);
    context.advance(REST).await;
    assert_eq!(context.purge().await.records, 1);
    assert!(key.record().await.is_absent());
}

/// The event that a purge leaves may be deleted after an hour: by a later purge of its namespace or by the server's own
/// expiry. No dry run and no purge of another namespace deletes it.
pub(crate) async fn the_event_of_a_purge_is_not_deleted_by_another_namespace(context: &LawContext) {
    let (keys, other) = ([context.execution("k"), context.lease("k")], context.apart());
    for key in &keys {
        tombstone(key).await;
    }
    context.advance(REST).await;
    assert_eq!(context.purge().await.records, 2);
    context.advance(PURGE_REST / 2).await;
    assert_eq!(context.purge().await.records, 0);
    for key in &keys {
        assert_eq!(key.changes().await, ["purged"], "it is less than an hour old");
    }
    context.advance(REST).await;
    other.purge().await;
    assert_eq!(context.purge_with(u32::MAX, true).await.records, 0);
    for key in &keys {
        assert_eq!(key.changes().await, ["purged"], "no purge of its own namespace was carried out");
    }
    assert_eq!(context.purge().await.records, 0);
    for key in &keys {
        let left = key.changes().await;
        assert!(left.is_empty() || left == ["purged"], "the events after a later purge are {left:?}");
    }
}

/// Each namespace has a floor of its own: a purge of another one, or one that deletes nothing, does not move it.
/// Without `set_back` this law is checked in part or not at all.
pub(crate) async fn each_namespace_has_its_own_floor(context: &LawContext) {
    let rooms = [context.apart(), context.apart(), context.apart()];
    let mut tokens = Vec::new();
    for (n, room) in rooms.iter().enumerate() {
        // The highest token of each is a lease's, and of the last an execution's.
        let (low, high) = (room.execution("k"), room.lease("k"));
        let (low, high) = if n == 2 { (high, low) } else { (low, high) };
        tombstone(&low).await;
        context.advance(HALF).await;
        tokens.push(tombstone(&high).await);
    }
    context.advance(REST).await;
    for room in [&rooms[2], &rooms[0], &rooms[1]] {
        assert_eq!(room.purge().await.records, 2);
    }
    for room in &rooms {
        room.purge_with(u32::MAX, true).await;
        assert_eq!(room.purge().await.records, 0);
    }
    context.advance(REST).await;
    for room in &rooms {
        room.purge().await;
    }
    if !context.set_back(REST * 4).await {
        return;
    }
    for (n, (room, token)) in rooms.iter().zip(tokens).enumerate() {
        for key in [room.execution("k"), room.lease("another")] {
            let next = key.granted(&call("bob")).await.token;
            assert!(next > token, "{next} was drawn after {token} was purged from namespace {n}");
        }
    }
}

/// The decisions of a purged record are deleted with it: in the next life a repeated one is a late duplicate, and
/// applies to nothing.
pub(crate) async fn a_decision_is_stale_after_a_purge(context: &LawContext) {
    let (key, done) = (context.lease("k"), context.execution("done"));
    let grant = key.granted(&call("ann")).await;
    let eviction = evict("olga", grant.token);
    expect_reply!(key.evict(&eviction).await, EvictReply::Evicted { .. });
    let doubt = done.abandoned(&brief("ann")).await;
    let seen = reconcile("olga", doubt.token);
    let token = done.taken(&seen).await;
    let decision = force("olga", token, &result("old"));
    expect_reply!(done.force_complete(&decision).await, ForceCompleteReply::Completed);
    context.advance(REST).await;
    assert_eq!(context.purge().await.records, 2);
    assert_eq!(key.record().await.decision, None);
    for again in [false, true] {
        if again {
            key.granted(&call("bob")).await;
            done.begun(&call("bob")).await;
        }
        let before = records(&[&key, &done]).await;
        let reply = key.evict(&eviction).await;
        assert!(
            !matches!(reply.reply, EvictReply::Evicted { .. }),
            "repeated from an earlier life: {reply:?}"
        );
        let reply = done.reconcile(&seen).await;
        assert!(
            !matches!(reply.reply, ReconcileReply::Taken { .. }),
            "repeated from an earlier life: {reply:?}"
        );
        let reply = done.force_complete(&decision).await;
        assert!(
            matches!(reply.reply, ForceCompleteReply::StaleDecision(_)),
            "from an earlier life: {reply:?}"
        );
        same("the records", &before, &records(&[&key, &done]).await);
        assert!(again || before.iter().all(Record::is_absent));
    }
}
