//! Days, years and centuries: nothing that is kept without a limit ends, and no arithmetic does.

use std::time::Duration;

use sentinel_core::operation::*;
use sentinel_core::store::{List, VisibleState};
use sentinel_core::{Applied, ClaimId, Record, State, Terms, Token};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};

/// The finest step of a store's clock.
const MICROSECOND: Duration = Duration::from_micros(1);
/// Longer than any ttl but those of the laws about terms.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// What a short memory would last.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest hard ttl.
const YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// The longest retention that every store can keep: the microseconds of a signed 64-bit number.
const LONGEST: Duration = Duration::from_micros(i64::MAX as u64);

/// How old what is kept becomes. Between two of them is a boundary: 32 bits of microseconds or milliseconds, a month,
/// the ends of the signed and unsigned 32-bit seconds of Unix (2038 and 2106), 2^52 microseconds (2112).
const AGES: [Duration; 10] = [
    Duration::from_secs(2 * 60 * 60),
    Duration::from_secs(25 * 60 * 60),
    Duration::from_secs(8 * 24 * 60 * 60),
    Duration::from_secs(32 * 24 * 60 * 60),
    Duration::from_secs(51 * 24 * 60 * 60),
    Duration::from_secs(367 * 24 * 60 * 60),
    Duration::from_secs(13 * 366 * 24 * 60 * 60),
    Duration::from_secs(81 * 366 * 24 * 60 * 60),
    Duration::from_secs(150 * 366 * 24 * 60 * 60),
    Duration::from_secs(220 * 366 * 24 * 60 * 60),
];

/// Terms at the borders of 15, 16, 31 and 32 bits of seconds, milliseconds and microseconds, and at the ends of months
/// and years; shortest first.
const BORDERS: [Duration; 10] = [
    Duration::from_micros(1 << 31),
    Duration::from_micros(1 << 32),
    Duration::from_secs(1 << 15),
    Duration::from_secs(1 << 16),
    Duration::from_millis(1 << 31),
    Duration::from_secs(30 * 24 * 60 * 60),
    Duration::from_millis(1 << 32),
    Duration::from_secs(90 * 24 * 60 * 60),
    Duration::from_secs(365 * 24 * 60 * 60),
    Duration::from_secs(366 * 24 * 60 * 60),
];

/// Moves the clock from one age to the next, and checks the replies at each. It is never at a whole second: otherwise a
/// store that counts in another unit would pass.
async fn at_each_age(context: &LawContext, check: impl AsyncFn(&str)) {
    let mut passed = Duration::ZERO;
    for age in AGES {
        context.advance(age - passed + Duration::from_micros(123_457)).await;
        passed = age;
        let hours = age.as_secs() / 3600;
        let words = match hours {
            0..48 => format!("after {hours} hours"),
            48..9_600 => format!("after {} days", hours / 24),
            _ => format!("after {} years", hours / 24 / 366),
        };
        check(&words).await;
    }
}

/// A claim with this ttl and hard ttl.
fn lasting(worker: &str, ttl: Duration, hard: Duration) -> Claim {
    Claim { terms: Terms::new(ttl, hard).expect("terms"), ..call(worker) }
}

/// An execution that lapsed or was abandoned stays uncertain, whatever time passes, and can still be decided.
pub(crate) async fn an_uncertain_execution_stays_uncertain(context: &LawContext) {
    let (lapsed, abandoned) = (context.execution("lapsed"), context.execution("abandoned"));
    lapsed.begun(&call("ann")).await;
    let gone = abandoned.abandoned(&call("ann")).await;
    let (before, began) = (abandoned.record().await, lapsed.record().await);
    at_each_age(context, async |age| {
        for (key, before) in [(&lapsed, &began), (&abandoned, &before)] {
            let expected = ClaimReply::Uncertain {
                token: before.token,
                begun_at: before.begun_at.unwrap_or_default(),
                worker: before.worker.clone(),
            };
            assert_eq!(key.claim(&fused("bob")).await.reply, expected, "{age}: {}", key.address);
            assert_eq!(key.record().await, *before, "{age}: {}", key.address);
        }
        let again = abandoned.abandon(gone, "a panic").await;
        assert_eq!((again.reply, again.stamp.changed), (AbandonReply::Abandoned, false), "{age}: again");
        let beat = abandoned.heartbeat(gone).await.reply;
        assert_eq!(beat, HeartbeatReply::Lost(LostReason::Abandoned), "{age}: a heartbeat");
        let page = List { state: Some(VisibleState::Uncertain), ..context.everything() };
        assert_eq!(context.keys(&page).await, ["abandoned", "lapsed"], "{age}: the page of uncertain keys");
    })
    .await;
    for key in [lapsed, abandoned] {
        let token = key.taken(&reconcile("olga", key.record().await.token)).await;
        expect_reply!(
            key.force_complete(&force("olga", token, &result("x"))).await,
            ForceCompleteReply::Completed
        );
    }
}

/// A reconciling record stays reconciling until the operator decides.
pub(crate) async fn a_reconciliation_lasts_until_it_is_decided(context: &LawContext) {
    let (settled, freed) = (context.execution("settled"), context.execution("freed"));
    let mut taken = Vec::new();
    for key in [&settled, &freed] {
        let doubt = key.abandoned(&call("ann")).await;
        let decision = reconcile("olga", doubt.token);
        taken.push((key, decision.clone(), key.taken(&decision).await, key.record().await));
    }
    at_each_age(context, async |age| {
        for (key, decision, token, before) in &taken {
            let claim = key.claim(&call("bob")).await.reply;
            assert!(matches!(claim, ClaimReply::Reconciling { .. }), "{age}: a claim was answered {claim:?}");
            let other = key.reconcile(&reconcile("omar", *token)).await.reply;
            assert!(
                matches!(&other, ReconcileReply::HeldBy { op_id, .. } if *op_id == decision.op_id),
                "{age}: another operator was answered {other:?}"
            );
            let again = key.reconcile(decision).await.reply;
            assert!(
                matches!(again, ReconcileReply::Taken { token: same, .. } if same == *token),
                "{age}: the same operator was answered {again:?}"
            );
            assert_eq!(key.record().await, *before, "{age}");
        }
    })
    .await;
    let by_force = force("olga", taken[0].2, &result("x"));
    expect_reply!(settled.force_complete(&by_force).await, ForceCompleteReply::Completed);
    expect_reply!(freed.reset_to_claimed(&reset("olga", taken[1].2)).await, ResetReply::Reset { .. });
    freed.granted(&call("bob")).await;
}

/// A result without a retention is replayed, whatever time passes.
pub(crate) async fn a_result_without_a_retention_is_always_replayed(context: &LawContext) {
    let (key, ann) = (context.execution("k"), Claim { fingerprint: about("an order"), ..call("ann") });
    let grant = key.completed(&ann, &result("kept")).await;
    let forced = context.execution("forced");
    let token = forced.taken(&reconcile("olga", forced.abandoned(&call("ann")).await.token)).await;
    forced.force_complete(&force("olga", token, &result("kept"))).await;
    at_each_age(context, async |age| {
        for key in [&key, &forced] {
            let expected = ClaimReply::Completed { result: result("kept"), remaining: None };
            assert_eq!(key.claim(&call("bob")).await.reply, expected, "{age}: {}", key.address);
        }
        let other = Claim { fingerprint: about("a refund"), ..call("bob") };
        assert_eq!(key.claim(&other).await.reply, ClaimReply::FingerprintMismatch, "{age}");
        let again = key.complete(grant, &result("kept")).await.reply;
        assert_eq!(again, CompleteReply::Recorded { late: false }, "{age}: the same result");
        assert_eq!(key.complete(grant, &result("another")).await.reply, CompleteReply::Conflict, "{age}");
    })
    .await;
}

/// A retention of months or centuries ends exactly on time, and replies report exactly what is left of it.
pub(crate) async fn a_long_retention_ends_exactly_on_time(context: &LawContext) {
    let mut keys = Vec::new();
    let lengths = BORDERS.into_iter().chain([YEAR * 10, Duration::from_secs(1 << 32), YEAR * 200]);
    for kept in lengths.map(|kept| kept + MICROSECOND).chain([LONGEST - YEAR, LONGEST]) {
        let key = context.execution(&format!("{kept:?}"));
        key.completed(&Claim { retention: Some(kept), ..call("ann") }, &result("kept")).await;
        let record = key.record().await;
        assert_eq!(record.retention, Some(kept), "the record keeps the retention that was asked for");
        keys.push((kept, key, record));
    }
    let mut passed = Duration::ZERO;
    for (kept, key, record) in &keys {
        let near = if *kept > YEAR * 220 { YEAR * 220 } else { *kept - TTL };
        context.advance(near.saturating_sub(passed)).await;
        passed = near.max(passed);
        let reply = key.claim(&call("bob")).await;
        let age = reply.stamp.now.since(record.completed_at.unwrap_or_default());
        let expected = ClaimReply::Completed { result: result("kept"), remaining: Some(*kept - age) };
        assert_eq!(reply.reply, expected, "{age:?} after the result, which is kept for {kept:?}");
        if near < *kept - TTL {
            continue;
        }
        context.advance(TTL).await;
        passed += TTL;
        expect_reply!(key.claim(&call("bob")).await, ClaimReply::Granted(_));
    }
}

/// A lease of hours or months lapses at its end, and not before.
pub(crate) async fn long_terms_end_exactly_on_time(context: &LawContext) {
    let mut keys = Vec::new();
    for border in BORDERS {
        for ttl in [border - MICROSECOND, border, border + MICROSECOND] {
            if ttl > Terms::MAX {
                continue;
            }
            for key in [context.lease(&format!("{ttl:?}")), context.execution(&format!("{ttl:?}"))] {
                let granted = key.claim(&lasting("ann", ttl, ttl)).await;
                let record = key.record().await;
                let until = granted.stamp.now.plus(ttl);
                assert_eq!((record.lease_until, record.hard_until), (until, until), "a ttl of {ttl:?}");
                assert_eq!(record.terms, Some(Terms::new(ttl, ttl).expect("terms")), "the terms are kept");
                let reply = key.claim(&call("bob")).await;
                let remaining = until.since(reply.stamp.now);
                let expected = ClaimReply::InProgress { state: State::Claimed, remaining };
                assert_eq!(reply.reply, expected, "at the beginning of {ttl:?}");
                keys.push((ttl, key, until));
            }
        }
    }
    let mut passed = Duration::ZERO;
    for of_a_border in keys.chunk_by(|(a, ..), (b, ..)| *b - *a <= MICROSECOND) {
        let near = of_a_border[0].0 - TTL;
        context.advance(near - passed).await;
        for (ttl, key, until) in of_a_border {
            let reply = key.claim(&call("bob")).await;
            let remaining = until.since(reply.stamp.now);
            let expected = ClaimReply::InProgress { state: State::Claimed, remaining };
            assert_eq!(reply.reply, expected, "{TTL:?} before the end of {ttl:?}");
        }
        context.advance(TTL + MICROSECOND * 3).await;
        passed = near + TTL + MICROSECOND * 3;
        for (_, key, _) in of_a_border {
            expect_reply!(key.claim(&call("bob")).await, ClaimReply::Granted(_));
        }
    }
}

/// Heartbeats extend a lease by its whole ttl, month after month, up to its hard deadline.
pub(crate) async fn heartbeats_extend_a_lease_for_a_year(context: &LawContext) {
    let (ttl, hard) = (DAY * 30, YEAR);
    for key in [context.lease("k"), context.execution("k")] {
        let grant = key.granted(&lasting("ann", ttl, hard)).await;
        let end = key.record().await.hard_until;
        let mut beats = 0;
        loop {
            context.advance(DAY * 29).await;
            let reply = key.heartbeat(grant).await;
            if reply.stamp.now >= end {
                break;
            }
            let lease_until = reply.stamp.now.plus(ttl).min(end);
            assert_eq!(reply.reply, HeartbeatReply::Kept { lease_until }, "heartbeat {beats} of 29 days");
            beats += 1;
        }
        assert_eq!(beats, 12, "heartbeats of 29 days before a hard deadline of 366 days");
        assert_eq!(key.record().await.lease_until, end, "the lease ends at its hard deadline");
    }
}

/// An execution that lapsed long ago revives within its hard deadline, and is not late.
pub(crate) async fn an_execution_revives_after_months(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.begun(&lasting("ann", DAY, YEAR)).await;
    context.advance(DAY * 300).await;
    expect_reply!(key.claim(&call("bob")).await, ClaimReply::Uncertain { .. });
    expect_reply!(key.heartbeat(grant).await, HeartbeatReply::Kept { .. });
    expect_reply!(key.complete(grant, &result("x")).await, CompleteReply::Recorded { late: false });
}

/// A result under the current grant is recorded after years.
pub(crate) async fn an_execution_completes_after_years(context: &LawContext) {
    let (lapsed, abandoned) = (context.execution("lapsed"), context.execution("abandoned"));
    let grants = [lapsed.begun(&call("ann")).await, abandoned.abandoned(&call("ann")).await];
    context.advance(YEAR * 100).await;
    for (key, grant) in [lapsed, abandoned].iter().zip(grants) {
        expect_reply!(key.complete(grant, &result("x")).await, CompleteReply::Recorded { late: true });
        expect_reply!(key.claim(&call("bob")).await, ClaimReply::Completed { .. });
        key.assert_rebuilt().await;
    }
}

/// A claim id that was released or cancelled is refused, and its cancel or release confirmed, whatever time passes.
pub(crate) async fn a_claim_id_is_never_forgotten(context: &LawContext) {
    let (released, cancelled) = (context.lease("released"), context.execution("cancelled"));
    let (withdrawn, freed) = (context.execution("withdrawn"), context.execution("reset"));
    let [ann, bob, eve, joe] = ["ann", "bob", "eve", "joe"].map(call);
    let grant = released.granted(&ann).await;
    released.release(grant).await;
    cancelled.begun(&bob).await;
    cancelled.cancel(bob.claim_id).await;
    withdrawn.cancel(eve.claim_id).await;
    let token = freed.taken(&reconcile("olga", freed.abandoned(&joe).await.token)).await;
    freed.reset_to_claimed(&reset("olga", token)).await;
    let (ids, held) = withdrawn_and_taken_by_others(context).await;
    at_each_age(context, async |age| {
        for (key, id) in held.iter().zip(&ids) {
            let reply = key.cancel(*id).await;
            let got = (reply.reply, reply.stamp.changed);
            assert_eq!(got, (CancelReply::Cancelled, false), "{age}: the cancel under {}", key.address);
        }
        for (key, claim) in [(&released, &ann), (&cancelled, &bob), (&withdrawn, &eve), (&freed, &joe)] {
            let reply = key.claim(claim).await.reply;
            assert_eq!(reply, ClaimReply::AlreadyReleased, "{age}: {}", key.address);
        }
        assert_eq!(released.release(grant).await.reply, ReleaseReply::Released, "{age}");
        for (key, claim) in [(&cancelled, &bob), (&withdrawn, &eve)] {
            let reply = key.cancel(claim.claim_id).await;
            assert_eq!((reply.reply, reply.stamp.changed), (CancelReply::Cancelled, false), "{age}");
        }
    })
    .await;
    for key in [released, cancelled, withdrawn, freed] {
        key.granted(&call("zoe")).await;
    }
}

/// Claim ids that were cancelled, and the records that other calls have held, completed or abandoned since.
async fn withdrawn_and_taken_by_others(context: &LawContext) -> (Vec<ClaimId>, Vec<Subject<'_>>) {
    let keys = ["another's run", "another's result", "another call's uncertain key"]
        .map(|key| context.execution(key));
    let mut ids = Vec::new();
    for key in &keys {
        let ann = call("ann");
        key.cancel(ann.claim_id).await;
        ids.push(ann.claim_id);
    }
    keys[0].begun(&call("bob")).await;
    keys[1].completed(&call("bob"), &result("x")).await;
    let doubt = keys[2].abandoned(&call("bob")).await;
    keys[2].taken(&reconcile("olga", doubt.token)).await;
    (ids, keys.into())
}

/// The call that holds a record, or completed it, is known after any time.
pub(crate) async fn a_holder_is_never_forgotten(context: &LawContext) {
    let (executing, completed) = (context.execution("executing"), context.execution("completed"));
    let lapsed = context.execution("lapsed");
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(call);
    let held = executing.begun(&ann).await;
    completed.completed(&Claim { retention: Some(HOUR), ..bob.clone() }, &result("x")).await;
    lapsed.granted(&eve).await;
    at_each_age(context, async |age| {
        let reply = executing.claim(&ann).await.reply;
        let same = matches!(&reply, ClaimReply::Granted(granted) if granted.token == held.token);
        assert!(same, "{age}: the executing call was answered {reply:?}");
        let bob = Claim { retention: Some(HOUR), ..bob.clone() };
        assert_eq!(completed.claim(&bob).await.reply, ClaimReply::AlreadyReleased, "{age}");
        let reply = lapsed.claim(&eve).await;
        assert!(matches!(reply.reply, ClaimReply::Granted(_)) && !reply.stamp.changed, "{age}: {reply:?}");
    })
    .await;
}

/// A decision that is sent again is known by its op id, whatever time passes.
pub(crate) async fn a_decision_is_never_forgotten(context: &LawContext) {
    let [held, forced, freed] = ["held", "forced", "freed"].map(|key| context.execution(key));
    let mut taken = Vec::new();
    for key in [&held, &forced, &freed] {
        let decision = reconcile("olga", key.abandoned(&call("ann")).await.token);
        taken.push((key.taken(&decision).await, decision));
    }
    let (by_force, by_reset) = (force("olga", taken[1].0, &result("x")), reset("olga", taken[2].0));
    let by_force_reply = forced.force_complete(&by_force).await.reply;
    let by_reset_reply = freed.reset_to_claimed(&by_reset).await.reply;
    let lease = context.lease("evicted");
    let eviction = evict("olga", lease.granted(&call("ann")).await.token);
    let evicted = lease.evict(&eviction).await.reply;
    freed.begun(&call("bob")).await;
    lease.granted(&call("bob")).await;
    at_each_age(context, async |age| {
        let again = held.reconcile(&taken[0].1).await;
        let same = matches!(again.reply, ReconcileReply::Taken { token, .. } if token == taken[0].0);
        assert!(same && !again.stamp.changed, "{age}: a repeated reconcile was answered {again:?}");
        assert_eq!(forced.force_complete(&by_force).await.reply, by_force_reply, "{age}");
        assert_eq!(freed.reset_to_claimed(&by_reset).await.reply, by_reset_reply, "{age}");
        assert_eq!(lease.evict(&eviction).await.reply, evicted, "{age}");
    })
    .await;
    for key in [held, forced, freed, lease] {
        key.assert_rebuilt().await;
    }
}

/// A purge never deletes what is held, undecided or kept without a limit, however long it has not changed.
pub(crate) async fn only_ended_records_are_purged_after_years(context: &LawContext) {
    let (lapsed, abandoned) = (context.execution("lapsed"), context.execution("abandoned"));
    let (held, kept) = (context.execution("held"), context.execution("kept"));
    let (ended, released) = (context.execution("ended"), context.lease("released"));
    lapsed.begun(&call("ann")).await;
    abandoned.abandoned(&call("ann")).await;
    held.taken(&reconcile("olga", held.abandoned(&call("ann")).await.token)).await;
    kept.completed(&call("ann"), &result("x")).await;
    ended.completed(&Claim { retention: Some(YEAR * 10), ..call("ann") }, &result("x")).await;
    released.release(released.granted(&call("ann")).await).await;
    let lives = [&lapsed, &abandoned, &held, &kept];
    let mut before = Vec::new();
    for key in lives {
        before.push(key.record().await);
    }
    context.advance(YEAR * 9).await;
    assert_eq!(context.purge().await.records, 1, "the released lease; one result has a year left");
    context.advance(YEAR * 150).await;
    assert_eq!(context.purge().await.records, 1, "the result whose retention has ended");
    for (key, before) in lives.iter().zip(before) {
        assert_eq!(key.record().await, before, "{} was purged", key.address);
    }
}

/// Whatever the year, a token is one more than the larger of record and clock: above 2^52 too, odd or even.
pub(crate) async fn tokens_are_exact_in_every_year(context: &LawContext) {
    let key = context.lease("k");
    let last = std::cell::Cell::new(Token::NONE);
    at_each_age(context, async |age| {
        for _ in 0..5 {
            let ann = call("ann");
            let stamp = key.claim(&ann).await.stamp;
            let expected = last.get().get().max(stamp.now.as_micros()) + 1;
            assert_eq!(stamp.token.get(), expected, "{age}: the token, the clock is at {}", stamp.now);
            let record = key.record().await;
            assert_eq!(record.claimed_at, Some(stamp.now), "{age}: the instant of the claim");
            assert_eq!(record.lease_until, stamp.now.plus(TTL), "{age}: the end of the lease");
            let eviction = key.evict(&evict("olga", stamp.token)).await;
            expect_reply!(eviction, EvictReply::Evicted { token } if token == eviction.stamp.token);
            let expected = expected.max(eviction.stamp.now.as_micros()) + 1;
            assert_eq!(eviction.stamp.token.get(), expected, "{age}: the token of an eviction");
            last.set(eviction.stamp.token);
        }
        key.assert_rebuilt().await;
    })
    .await;
}

/// Before the last token everything works; beyond it each request is refused as not applied, and the record can be
/// read.
pub(crate) async fn no_token_is_drawn_beyond_the_largest(context: &LawContext) {
    let (key, fresh) = (context.lease("k"), context.lease("fresh"));
    let now = key.now().await.as_micros();
    context.advance(Duration::from_micros(Token::MAX.get() - now) - HOUR).await;
    let grant = key.granted(&call("ann")).await;
    assert!(grant.token < Token::MAX && grant.token.get() > Token::MAX.get() - HOUR.as_micros() as u64);
    expect_reply!(key.evict(&evict("olga", grant.token)).await, EvictReply::Evicted { .. });
    let grant = key.granted(&call("bob")).await;
    let before = key.record().await;
    context.advance(HOUR * 2).await;
    for key in [&key, &fresh] {
        refused_beyond(context, key, &before, Evict { expect: grant.token, ..evict("olga", grant.token) })
            .await;
    }
    assert_eq!(key.record().await, before, "a refused request changed the record");
    assert!(fresh.record().await.is_absent(), "a refused request made a record");
}

/// A claim and an eviction are refused as not applied.
async fn refused_beyond(context: &LawContext, key: &Subject<'_>, before: &Record, eviction: Evict) {
    let claim = context.store().claim(&key.address, &call("eve")).await;
    let evicted = context.store().evict(&key.address, &eviction).await;
    for reply in [claim.map(|stamped| stamped.stamp), evicted.map(|stamped| stamped.stamp)] {
        let error = reply.expect_err("no token is left, and a request was answered");
        assert_eq!(error.applied(), Applied::No, "{error}; the record before was {before:?}");
    }
}
