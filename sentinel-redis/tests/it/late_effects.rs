//! Late effects, what an abandoned run may still do, and results that callers can decode.

use std::time::Duration;

use sentinel_conformance::DynHarness as _;
use sentinel_core::operation::*;
use sentinel_core::{Accepts, ClaimId, OpId, Payload, RecordedResult, State, Terms, Token};

use crate::harness::{DAY, HARD, StoreHarness, TTL, call, fused, label};

const LATE: Duration = Duration::from_secs(5);
const INSTANT: Duration = Duration::from_micros(1);

/// A run that may cause effects for a while after its hard deadline.
fn late() -> Claim {
    let terms = Terms::new(TTL, HARD).unwrap().with_late_effects(LATE).unwrap();
    Claim { terms, ..fused() }
}

fn reset(token: Token) -> ResetToClaimed {
    let (op_id, operator, reason) = (OpId::random(), label("olga"), Some(label("why")));
    ResetToClaimed { op_id, token, operator, reason, accept_overlap: false }
}

/// After an abandon nothing extends the run, gives it back or withdraws it, and nothing moves its deadlines; its
/// result counts.
pub(crate) async fn an_abandoned_run_ends_only_by_its_result(harness: &StoreHarness, _: &str) {
    let address = harness.execution("k");
    let grant = harness.granted(&address, &late()).await;
    let abandon = |late_effects| Abandon { grant, cause: label("no contact"), late_effects };
    let stamp = harness.change(&address, abandon(DAY)).await;
    let doubted = harness.record(&address).await;
    assert_eq!((doubted.hard_until, doubted.effects_until), (stamp.now, stamp.now.plus(DAY)));
    let claim_id = grant.claim_id;
    for stamped in [
        harness.ask(&address, abandon(Duration::ZERO)).await,
        harness.ask(&address, Heartbeat { grant }).await,
        harness.ask(&address, Release { grant, vouched: true }).await,
        harness.ask(&address, Cancel { claim_id }).await,
    ] {
        assert!(!stamped.stamp.changed, "{stamped:?}");
    }
    assert_eq!(harness.record(&address).await, doubted);
    let result = crate::harness::result("charged");
    let stamped = harness.change(&address, Complete { grant, result }).await;
    assert_eq!(stamped.state, State::Completed);
    harness.ask(&address, Heartbeat { grant }).await;
}

/// A reset waits until late effects have landed: of a run that was cut off, and of one that was abandoned past its
/// deadline.
pub(crate) async fn a_reset_waits_for_late_effects(harness: &StoreHarness, _: &str) {
    let (cut_off, abandoned) = (harness.execution("cut off"), harness.execution("abandoned"));
    let token = harness.taken(&cut_off, &late()).await;
    let grant = harness.granted(&abandoned, &late()).await;
    harness.advance(HARD + LATE - INSTANT).await;
    refuses(harness, &cut_off, token).await;
    let cause = label("no contact");
    harness.change(&abandoned, Abandon { grant, cause, late_effects: DAY }).await;
    harness.advance(INSTANT).await;
    harness.change(&cut_off, reset(token)).await;
    let (op_id, operator, expect) = (OpId::random(), label("olga"), grant.token);
    let decision = Reconcile { op_id, operator, reason: None, expect, even_if_alive: false, steal: false };
    let token = harness.change(&abandoned, decision).await.token;
    harness.advance(DAY - INSTANT - INSTANT).await;
    refuses(harness, &abandoned, token).await;
    harness.advance(INSTANT).await;
    harness.change(&abandoned, reset(token)).await;
}

async fn refuses(harness: &StoreHarness, address: &sentinel_core::Address, token: Token) {
    let stamped = harness.ask(address, reset(token)).await;
    assert!(!stamped.stamp.changed, "{stamped:?}");
    let stamped = harness.ask(address, ResetToClaimed { token: Token::NONE, ..reset(token) }).await;
    assert!(!stamped.stamp.changed, "{stamped:?}");
}

/// A result by hand is refused if callers of the key cannot decode it, unless the operator accepts that.
pub(crate) async fn a_decision_is_decodable(harness: &StoreHarness, _: &str) {
    let listed = || Accepts::new(["text/plain", "application/json", "x/y"]).unwrap();
    let cases = [
        (Accepts::any(), "text/plain", true),
        (Accepts::any(), "a/b,c/d", true),
        (Accepts::json(), "Application/JSON; charset=utf-8", true),
        (Accepts::json(), "text/plain", false),
        (Accepts::json(), "application/js", false),
        (Accepts::json(), "pplication/json", false),
        (listed(), "text/plain", true),
        (listed(), "x/y", true),
        (listed(), "application/json,x/y", false),
        (listed(), "application", false),
    ];
    for (n, (accepts, content_type, is_fine)) in cases.into_iter().enumerate() {
        let payload = || Payload::new(content_type, "found".to_owned());
        let results = [RecordedResult::success(payload()), RecordedResult::failure(None, payload())];
        for (result, as_is, is_taken) in [
            (results[0].clone(), false, is_fine),
            (results[0].clone(), true, true),
            (results[1].clone(), false, true),
            (RecordedResult { omitted: true, ..results[0].clone() }, false, true),
        ] {
            let address = harness.execution(&format!("k{n} {as_is} {:?} {}", result.verdict, result.omitted));
            let claim = Claim { claim_id: ClaimId::random(), accepts: accepts.clone(), ..fused() };
            let token = harness.taken(&address, &claim).await;
            let (op_id, operator, reason) = (OpId::random(), label("olga"), None);
            let force = ForceComplete { op_id, token, operator, reason, result, as_is };
            let stamped = harness.ask(&address, force.clone()).await;
            assert_eq!(stamped.stamp.changed, is_taken, "{content_type} as {accepts}: {stamped:?}");
            harness.ask(&address, force).await;
        }
        // The next caller may decode any type.
        let address = harness.execution(&format!("given back {n}"));
        let grant = harness.granted(&address, &Claim { accepts, ..call() }).await;
        harness.change(&address, Release { grant, vouched: false }).await;
    }
}

mod checks {
    crate::mutants::own_tests! {
        an_abandoned_run_ends_only_by_its_result;
        a_reset_waits_for_late_effects for "with a fixed clock";
        a_decision_is_decodable;
    }
}
