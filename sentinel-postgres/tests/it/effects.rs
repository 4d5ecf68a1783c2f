//! What a claim states about its effects and its callers, on each way by which it is stored, and what it is used for
//! later.

use std::time::Duration;

use sentinel_conformance::DynHarness as _;
use sentinel_core::kernel::{Reply, rebuild};
use sentinel_core::operation::*;
use sentinel_core::{
    Accepts, Address, Change, ClaimId, CoordinationStore as _, OpId, Payload, RecordedResult, Terms, Token,
};

use crate::harness::{Fixture, HARD, TTL, call, fused, label, runtime};

const LATE: Duration = Duration::from_secs(300);

fn terms() -> Terms {
    Terms::new(TTL, HARD).unwrap().with_late_effects(LATE).unwrap()
}

/// A claim on one of the ways by which claims are stored: of an absent address or of one that is free, alone or with
/// others in one statement.
async fn claimed(fixture: &Fixture, claim: &Claim, how: &str) -> (Address, Token) {
    let fresh = || fixture.execution(&ClaimId::random().to_string());
    let (address, beside, other) = (fresh(), fresh(), fused());
    if how.starts_with("free") {
        for address in [&address, &beside] {
            let grant = fixture.granted(address, &call()).await;
            fixture.ask(address, Release { grant, vouched: false }).await;
        }
    }
    let grant = match how.ends_with("in a batch") {
        true => tokio::join!(fixture.granted(&address, claim), fixture.granted(&beside, &other)).0,
        false => fixture.granted(&address, claim).await,
    };
    (address, grant.token)
}

async fn taken(fixture: &Fixture, address: &Address, expect: Token) -> Token {
    let (op_id, operator) = (OpId::random(), label("olga"));
    let take = Reconcile { op_id, operator, reason: None, expect, even_if_alive: true, steal: false };
    let reply = fixture.ask(address, take).await;
    let Reply::Reconcile(ReconcileReply::Taken { token, .. }) = reply.reply else { panic!("{reply:?}") };
    token
}

async fn reset(fixture: &Fixture, address: &Address, token: Token) -> ResetReply {
    let (op_id, operator) = (OpId::random(), label("olga"));
    let reply = fixture
        .ask(address, ResetToClaimed { op_id, token, operator, reason: None, accept_overlap: false })
        .await;
    let Reply::ResetToClaimed(reply) = reply.reply else { panic!("{reply:?}") };
    reply
}

/// A reset waits for the effects that may land after the hard deadline; a heartbeat does not see them.
pub(crate) async fn a_reset_waits_for_late_effects(fixture: &Fixture, how: &str) {
    let (address, token) = claimed(fixture, &Claim { terms: terms(), ..fused() }, how).await;
    let record = fixture.record(&address).await;
    assert_eq!(record.effects_until, record.hard_until.plus(LATE), "{how}");
    assert_eq!(record.terms, Some(terms()), "{how}");
    let token = taken(fixture, &address, token).await;
    fixture.advance(HARD + LATE / 2).await;
    assert_eq!(
        reset(fixture, &address, token).await,
        ResetReply::EffectsMayLand { until: record.effects_until }
    );
    fixture.advance(LATE / 2).await;
    assert!(matches!(reset(fixture, &address, token).await, ResetReply::Reset { .. }), "{how}");
    let events = fixture.store.history(&address, u32::MAX).await.unwrap();
    let mut claims = events.iter().filter_map(|event| match &event.change {
        Change::Claimed { terms, .. } => Some(*terms),
        _ => None,
    });
    assert_eq!(claims.next_back(), Some(terms()), "{how}");
    assert_eq!(fixture.record(&address).await.effects_until, sentinel_core::StoreTime::ZERO);
}

/// The effects of an abandoned run may land for as long as its worker states, even if that is longer than its terms.
pub(crate) async fn an_abandon_records_how_long_effects_may_land(fixture: &Fixture, _: &str) {
    for late_effects in [Duration::ZERO, LATE, HARD * 2] {
        let address = fixture.execution(&ClaimId::random().to_string());
        let grant = fixture.granted(&address, &Claim { terms: terms(), ..fused() }).await;
        let reply = fixture.ask(&address, Abandon { grant, cause: label("a timeout"), late_effects }).await;
        let until = reply.stamp.now.plus(late_effects);
        let record = fixture.record(&address).await;
        assert_eq!((record.effects_until, record.hard_until), (until, reply.stamp.now));
        let again = Abandon { grant, cause: label("a timeout"), late_effects: LATE * 5 };
        assert!(!fixture.ask(&address, again).await.stamp.changed);
        assert_eq!(fixture.record(&address).await.effects_until, until, "a repeated abandon moves nothing");
        let events = fixture.store.history(&address, u32::MAX).await.unwrap();
        assert_eq!(events.last().unwrap().change, Change::Abandoned { effects_until: until });
        assert_eq!(rebuild(&events).effects_until, until);
        assert_eq!(
            fixture.ask(&address, Release { grant, vouched: true }).await.reply,
            Reply::Release(ReleaseReply::MayHaveRun)
        );
        assert!(!fixture.ask(&address, Cancel { claim_id: grant.claim_id }).await.stamp.changed);
        let beaten = fixture.ask(&address, Heartbeat { grant }).await;
        assert_eq!(beaten.reply, Reply::Heartbeat(HeartbeatReply::Lost(LostReason::Abandoned)));
    }
}

/// An abandoned run is not given back: not by a release in a statement with others.
pub(crate) async fn an_abandoned_run_is_not_released_in_a_batch(fixture: &Fixture, _: &str) {
    let (address, other) = (fixture.execution("abandoned"), fixture.execution("other"));
    let grant = fixture.granted(&address, &fused()).await;
    fixture.ask(&address, Abandon { grant, cause: label("a timeout"), late_effects: LATE }).await;
    let nothing = Begin { grant };
    let (reply, _) =
        tokio::join!(fixture.ask(&address, Release { grant, vouched: true }), fixture.ask(&other, nothing));
    assert_eq!(reply.reply, Reply::Release(ReleaseReply::MayHaveRun));
}

/// A result that callers of a key cannot decode is not recorded by an operator, unless the operator accepts that.
pub(crate) async fn a_decision_is_of_a_type_that_callers_decode(fixture: &Fixture, how: &str) {
    let some = || Accepts::new(["application/cbor", "application/json"]).unwrap();
    for accepts in [Accepts::json(), some(), Accepts::any()] {
        let (address, token) = claimed(fixture, &Claim { accepts: accepts.clone(), ..fused() }, how).await;
        assert_eq!(fixture.record(&address).await.accepts, accepts, "{how}");
        let token = taken(fixture, &address, token).await;
        let force = async |content_type: &str, as_is: bool| {
            let (op_id, operator) = (OpId::random(), label("olga"));
            let result = RecordedResult::success(Payload::new(content_type, "{}"));
            let force = ForceComplete { op_id, token, operator, reason: None, result, as_is };
            fixture.ask(&address, force).await.reply
        };
        if accepts != Accepts::any() {
            let refused = ForceCompleteReply::NotDecodable { accepts: accepts.clone() };
            for other in ["text/plain", "application/json+x", "json"] {
                assert_eq!(
                    force(other, false).await,
                    Reply::ForceComplete(refused.clone()),
                    "{how}: {other}"
                );
            }
        }
        let completed = Reply::ForceComplete(ForceCompleteReply::Completed);
        match how {
            "free" => assert_eq!(force("text/plain", true).await, completed),
            _ => assert_eq!(force("Application/JSON; charset=utf-8", false).await, completed),
        }
        let events = fixture.store.history(&address, u32::MAX).await.unwrap();
        assert_eq!(rebuild(&events).accepts, accepts, "{how}");
    }
}

const WAYS: [&str; 4] = ["absent", "absent in a batch", "free", "free in a batch"];

#[test]
fn terms_and_content_types_are_kept_on_each_way() {
    runtime().block_on(async {
        let fixture = Fixture::open("effects_kept", |builder| builder).await;
        for how in WAYS {
            a_reset_waits_for_late_effects(&fixture, how).await;
            a_decision_is_of_a_type_that_callers_decode(&fixture, how).await;
        }
    });
}

#[test]
fn an_abandoned_run_waits_for_its_late_effects_and_does_not_come_back() {
    runtime().block_on(async {
        let fixture = Fixture::open("effects_abandoned", |builder| builder).await;
        an_abandon_records_how_long_effects_may_land(&fixture, "").await;
        an_abandoned_run_is_not_released_in_a_batch(&fixture, "").await;
    });
}
