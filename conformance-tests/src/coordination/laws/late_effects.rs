//! Spec §2 and spec §3, effects until: a field of its own beside the hard deadline, which ends with the run's
//! authority.

use std::time::Duration;

use sentinel_core::operation::*;
use sentinel_core::{Applied, Change, Grant, Record, Terms};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};
use crate::diff::{assert_eq, same};

/// A call whose effects may land late.
fn late(effects: Duration) -> Claim {
    let terms = Terms::new(TTL, HARD).and_then(|terms| terms.with_late_effects(effects));
    Claim { terms: terms.expect("terms"), ..call("ann") }
}

/// An abandon whose effects may land late.
fn abandon(grant: Grant, late_effects: Duration) -> Abandon {
    Abandon { grant, cause: label("the connection broke"), late_effects }
}

/// A run that was abandoned while its effects may still land for as long as `LATE`.
async fn abandoned(key: &Subject<'_>) -> Grant {
    let grant = key.begun(&late(LATE)).await;
    expect_reply!(key.abandon_as(&abandon(grant, LATE)).await, AbandonReply::Abandoned);
    grant
}

/// A claim sets `effects_until = hard_until + late_effects`, for executions and leases, fused or not. A begin and
/// heartbeats do not move it.
pub(crate) async fn a_claim_sets_the_end_of_late_effects(context: &LawContext) {
    for effects in [Duration::ZERO, Duration::from_micros(1), LATE, Terms::MAX] {
        let own = late(effects);
        let name = format!("{effects:?}");
        let (plain, lease) = (context.execution(&name), context.lease(&name));
        let at_once = context.execution(&format!("{name}, fused"));
        let grants = [
            plain.granted(&own).await,
            lease.granted(&own).await,
            at_once.granted(&Claim { phase: Phase::Executing, ..own.clone() }).await,
        ];
        plain.begin(grants[0]).await;
        context.advance(HALF).await;
        for (key, grant) in [plain, lease, at_once].iter().zip(grants) {
            expect_reply!(key.heartbeat(grant).await, HeartbeatReply::Kept { .. });
            let record = key.record().await;
            let what = format!("effects_until of {}", key.address);
            same(&what, &record.hard_until.plus(effects), &record.effects_until);
            same("terms", &Some(own.terms), &record.terms);
            key.assert_rebuilt().await;
        }
    }
}

/// An abandon ends lease and hard deadline now, where they are later, and sets `effects_until` to now and its own late
/// effects: earlier or later than the claim's. Its event carries it.
pub(crate) async fn an_abandon_sets_the_end_of_late_effects(context: &LawContext) {
    for claimed in [Duration::ZERO, LATE] {
        for wait in [HALF, TTL + HALF, HARD + HALF] {
            for effects in [Duration::ZERO, Duration::from_micros(1), LATE, LATE * 30] {
                let key = context.execution(&format!("{claimed:?} {wait:?} {effects:?}"));
                let grant = key.begun(&late(claimed)).await;
                context.advance(wait).await;
                let before = key.record().await;
                let reply = key.abandon_as(&abandon(grant, effects)).await;
                let now = reply.stamp.now;
                expect_reply!(reply, AbandonReply::Abandoned);
                let effects_until = now.plus(effects);
                let expected = Record {
                    lease_until: before.lease_until.min(now),
                    hard_until: before.hard_until.min(now),
                    effects_until,
                    doubt: Some(label("the connection broke")),
                    rev: before.rev + 1,
                    last_now: now,
                    ..before
                };
                let what =
                    format!("the record, abandoned {wait:?} after its claim with effects {effects:?} late");
                same(&what, &expected, &key.record().await);
                let event = key.newest_events(1).await.remove(0);
                same("the event", &Change::Abandoned { effects_until }, &event.change);
                key.assert_rebuilt().await;
            }
        }
    }
}

/// A repeated abandon moves nothing, whatever its late effects and its cause are.
pub(crate) async fn a_repeated_abandon_changes_no_deadline(context: &LawContext) {
    let key = context.execution("k");
    let grant = abandoned(&key).await;
    let before = key.record().await;
    for effects in [Duration::ZERO, LATE, LATE * 2] {
        context.advance(HALF).await;
        let other = Abandon { cause: label("another cause"), ..abandon(grant, effects) };
        let reply = key.abandon_as(&other).await;
        assert!(!reply.stamp.changed, "{reply:?}");
        expect_reply!(reply, AbandonReply::Abandoned);
        key.assert_untouched_since(&before).await;
    }
}

/// After an abandon a heartbeat is lost as abandoned, alone and in a batch, while effects may land and after it.
pub(crate) async fn a_heartbeat_of_an_abandoned_run_is_lost(context: &LawContext) {
    let (key, other) = (context.execution("k"), context.lease("k"));
    let grant = abandoned(&key).await;
    let before = key.record().await;
    for wait in [Duration::ZERO, HALF, LATE] {
        context.advance(wait).await;
        expect_reply!(key.heartbeat(grant).await, HeartbeatReply::Lost(LostReason::Abandoned));
        let own = call("bob");
        let held = other.granted(&own).await;
        let beat = |key: &Subject<'_>, grant| Beat { address: key.address.clone(), grant };
        let replies =
            context.beats(&[beat(&key, grant), beat(&other, held), beat(&key, other_id(grant))]).await;
        same("the first reply", &HeartbeatReply::Lost(LostReason::Abandoned), &replies[0].reply);
        assert!(matches!(replies[1].reply, HeartbeatReply::Kept { .. }), "{replies:?}");
        assert!(matches!(replies[2].reply, HeartbeatReply::Lost(LostReason::Superseded(_))), "{replies:?}");
        other.release(held).await;
        key.assert_untouched_since(&before).await;
    }
    expect_reply!(key.claim(&call("bob")).await, ClaimReply::Uncertain { .. });
}

/// After an abandon a vouched release is refused: the outcome is unknown. A cancel leaves the record as it is.
pub(crate) async fn an_abandoned_run_is_not_released_or_cancelled(context: &LawContext) {
    for effects in [Duration::ZERO, LATE] {
        let (key, own) = (context.execution(&format!("{effects:?}")), late(LATE));
        let grant = key.begun(&own).await;
        key.abandon_as(&abandon(grant, effects)).await;
        let before = key.record().await;
        for wait in [Duration::ZERO, HALF, HARD + LATE] {
            context.advance(wait).await;
            expect_reply!(key.vouch(grant).await, ReleaseReply::MayHaveRun);
            expect_reply!(key.release(grant).await, ReleaseReply::MayHaveRun);
            expect_reply!(key.cancel(own.claim_id).await, CancelReply::Untouched(_));
            key.assert_untouched_since(&before).await;
        }
    }
}

/// After an abandon a completion under the same grant still counts, while effects may land and long after.
pub(crate) async fn an_abandoned_run_may_still_complete(context: &LawContext) {
    for wait in [Duration::ZERO, HALF, LATE * 2] {
        let key = context.execution(&format!("{wait:?}"));
        let grant = abandoned(&key).await;
        context.advance(wait).await;
        expect_reply!(key.complete(other_id(grant), &result("x")).await, CompleteReply::Superseded(_));
        expect_reply!(key.complete(grant, &result("it did")).await, CompleteReply::Recorded { late: true });
        expect_reply!(key.claim(&call("bob")).await, ClaimReply::Completed { .. });
    }
}

/// A reset waits for the instant from which no effect can land, and not longer: of a run that was abandoned, of one
/// whose abandon never arrived, and of one that was taken while its worker lived. A steal does not move the instant.
pub(crate) async fn a_reset_is_possible_exactly_from_the_end_of_late_effects(context: &LawContext) {
    let micro = Duration::from_micros(1);
    for from in ["abandoned", "lapsed", "alive", "stolen"] {
        for early in [micro, Duration::ZERO] {
            let key = context.execution(&format!("{from} {early:?}"));
            let grant =
                if from == "abandoned" { abandoned(&key).await } else { key.begun(&late(LATE)).await };
            if from == "lapsed" {
                context.advance(TTL).await;
            }
            let seen = Reconcile { even_if_alive: true, ..reconcile("olga", grant.token) };
            let mut token = key.taken(&seen).await;
            let until = key.record().await.effects_until;
            if from == "stolen" {
                token = key.taken(&Reconcile { steal: true, ..reconcile("omar", token) }).await;
            }
            let before = key.record().await;
            same("effects_until of what an operator holds", &until, &before.effects_until);
            let now = key.now().await;
            context.advance(until.since(now).saturating_sub(early)).await;
            let reply = key.reset_to_claimed(&reset("olga", token)).await;
            let is_over = reply.stamp.now >= until;
            match reply.reply {
                ResetReply::Reset { .. } if is_over => same(
                    "effects_until after a reset",
                    &sentinel_core::StoreTime::ZERO,
                    &key.record().await.effects_until,
                ),
                ResetReply::EffectsMayLand { until: got } if !is_over => {
                    same("the instant in the reply to a reset", &until, &got);
                    key.assert_untouched_since(&before).await;
                }
                other => panic!(
                    "a run that is {from}, effects until {until:?}, at {:?}: {other:?}",
                    reply.stamp.now
                ),
            }
        }
    }
}

/// The operator's choices do not wait: an overlap that is accepted, and a result that is forced.
pub(crate) async fn an_operator_can_decide_without_waiting_for_late_effects(context: &LawContext) {
    let (reset_key, forced) = (context.execution("reset"), context.execution("forced"));
    for key in [&reset_key, &forced] {
        let grant = abandoned(key).await;
        let reply = key.reconcile(&reconcile("olga", grant.token)).await;
        let until = key.record().await.effects_until;
        let token = expect_reply!(
            reply,
            ReconcileReply::Taken { token, effects_until, .. } if effects_until == until => token
        );
        if key.address == forced.address {
            expect_reply!(
                key.force_complete(&force("olga", token, &result("x"))).await,
                ForceCompleteReply::Completed
            );
            continue;
        }
        let no = reset("olga", token);
        expect_reply!(key.reset_to_claimed(&no).await, ResetReply::EffectsMayLand { until: got } if got == until);
        let bold = ResetToClaimed { accept_overlap: true, ..no };
        expect_reply!(key.reset_to_claimed(&bold).await, ResetReply::Reset { .. });
        let next = key.begun(&late(Duration::ZERO)).await;
        let record = key.record().await;
        same("effects_until of the next run", &record.hard_until, &record.effects_until);
        expect_reply!(key.complete(next, &result("x")).await, CompleteReply::Recorded { late: false });
    }
}

/// Late effects beyond the limit are an error that reports *not applied*, and the run continues.
pub(crate) async fn late_effects_beyond_the_limit_are_an_error(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.begun(&late(LATE)).await;
    let before = key.record().await;
    for effects in [Terms::MAX + Duration::from_micros(1), Duration::MAX] {
        let error = context.store().abandon(&key.address, &abandon(grant, effects)).await.err();
        let error = error.unwrap_or_else(|| panic!("effects {effects:?} late were taken"));
        assert_eq!(error.applied(), Applied::No, "{error}");
        key.assert_untouched_since(&before).await;
    }
    expect_reply!(key.heartbeat(grant).await, HeartbeatReply::Kept { .. });
}
