//! H7, H8, H13, H22: outcomes that are not known, and what is vouched for.

use std::time::Duration;

use sentinel::Sentinel;
use sentinel::policy::Policy;
use sentinel::reconcile::{DecisionOutcome, Holding, ReconcileOutcome, Reconciler};
use sentinel::record::Kind;
use sentinel_http::{Body, FailedForGood, Happened, NothingHappened};

use crate::counted::counted;
use crate::harness::{Bed, Front, Handler, StoreKind, layer, on_every_store, text, until};

on_every_store! {
    after_a_5xx_or_a_panic_nothing_runs_until_an_operator_decides
    what_a_handler_vouches_for_counts
    a_status_counts_as_the_route_states
    a_decision_while_the_handler_runs_counts
}

pub(crate) async fn after_a_5xx_or_a_panic_nothing_runs_until_an_operator_decides(bed: Bed) {
    let handler = Handler::new(async |_, call| match call {
        1 => text(502, "the provider's secret error"),
        2 => panic!("on purpose"),
        3 => text(429, "slow down"),
        _ => text(201, format!("call {call}")),
    });
    let app = bed.app(bed.layer().policy(Policy::new().late_effects(Duration::ZERO)), &handler);
    for (n, key) in ["a", "b", "c"].iter().enumerate() {
        let first = app.post(key, "").await;
        let support = first.header("sentinel-support").unwrap().to_owned();
        match n {
            0 => assert_eq!((first.status, first.text()), (502, "the provider's secret error")),
            1 => first.assert_problem(500, "uncertain"),
            _ => assert_eq!(first.status, 429),
        }
        let token = bed.sentinel.inspect(Kind::Execution, format!("acme/{key}")).await.unwrap();
        let token = token.record.unwrap().token.get().to_string();
        assert_eq!(support.replace('-', ""), token);
        for _ in 0..50 {
            let again = app.post(key, "").await;
            again.assert_problem(500, "uncertain");
            assert_eq!(again.problem().document["support_id"], support);
            assert_eq!(
                (again.header("sentinel-support"), again.header("retry-after")),
                (Some(&*support), Some("60"))
            );
            assert!(!again.text().contains("secret"));
        }
        app.status(key).await.assert_problem(500, "uncertain");
    }
    assert_eq!(handler.calls(), 3);
    // It happened: callers get what the operator supplies.
    let held = taken(&bed, "a").await;
    assert!(matches!(
        held.force_complete(&Receipt { receipt: 7 }).await.unwrap(),
        DecisionOutcome::Done { .. }
    ));
    let got = app.post("a", "").await;
    assert_eq!((got.status, got.text(), got.is_replay()), (200, "{\"receipt\":7}", true));
    assert_eq!(got.header("content-type"), Some("application/json"));
    assert_eq!(got.header("x-content-type-options"), Some("nosniff"));
    // An operator has it.
    let held = taken(&bed, "b").await;
    app.post("b", "").await.assert_problem(500, "uncertain");
    app.status("b").await.assert_problem(500, "uncertain");
    // It did not happen: one more run.
    assert!(matches!(held.reset_to_claimed().await.unwrap(), DecisionOutcome::Done { .. }));
    assert_eq!(app.post("b", "").await.text(), "call 4");
    assert!(app.post("b", "").await.is_replay());
    assert_eq!(handler.calls(), 4);
}

#[derive(serde::Serialize)]
struct Receipt {
    receipt: u32,
}

/// An operator takes the key of a request, whether its run is alive or not.
async fn taken(bed: &Bed, key: &str) -> Reconciler<Holding> {
    let key = format!("acme/{key}");
    let record = bed.sentinel.inspect(Kind::Execution, &key).await.unwrap().record.unwrap();
    let reconciler = bed.sentinel.reconciler(&key).operator("ada").expect(record.token).even_if_alive();
    match reconciler.reconcile().await.unwrap() {
        ReconcileOutcome::Taken(held) => *held,
        ReconcileOutcome::Refused(reply) => panic!("{reply:?}"),
    }
}

pub(crate) async fn what_a_handler_vouches_for_counts(bed: Bed) {
    let handler = Handler::new(async |request: http::Request<bytes::Bytes>, call| {
        let mut response = text(if call % 2 == 1 { 503 } else { 200 }, format!("call {call}"));
        let extensions = response.extensions_mut();
        match &request.body()[..] {
            b"nothing" => drop(extensions.insert(NothingHappened)),
            b"failed" => drop(extensions.insert(FailedForGood)),
            b"happened" => drop(extensions.insert(Happened)),
            _ => {
                extensions.insert(NothingHappened);
                extensions.insert(Happened);
            }
        }
        response
    });
    let app = bed.app(bed.layer(), &handler);
    assert_eq!(app.post("a", "nothing").await.text(), "call 1");
    app.status("a").await.assert_problem(404, "unknown-key");
    assert_eq!(app.post("a", "nothing").await.text(), "call 2");
    for (key, call) in [("failed", 3), ("happened", 4)] {
        assert_eq!(app.post(key, key).await.text(), format!("call {call}"));
        let again = app.post(key, key).await;
        assert!(again.is_replay());
        assert_eq!(
            (again.status, again.text()),
            (if call == 3 { 503 } else { 200 }, &*format!("call {call}"))
        );
    }
    assert_eq!(app.post("both", "both").await.text(), "call 5");
    app.post("both", "both").await.assert_problem(500, "uncertain");
}

pub(crate) async fn a_status_counts_as_the_route_states(bed: Bed) {
    let handler = Handler::new(async |request: http::Request<bytes::Bytes>, call| {
        let status = std::str::from_utf8(request.body()).unwrap().parse().unwrap();
        text(status, format!("call {call}"))
    });
    let app = bed.app(bed.layer().nothing_happened_on([429]).failed_for_good_on([501]), &handler);
    assert_eq!(app.post("402", "402").await.status, 402);
    let again = app.post("402", "402").await;
    assert_eq!((again.status, again.is_replay(), again.text()), (402, true, "call 1"));
    for call in 2..=3 {
        assert_eq!(app.post("429", "429").await.text(), format!("call {call}"));
    }
    app.post("501", "501").await;
    assert!(app.post("501", "501").await.is_replay());
    for status in ["408", "425", "500"] {
        app.post(status, status).await;
        app.post(status, status).await.assert_problem(500, "uncertain");
    }
}

pub(crate) async fn a_decision_while_the_handler_runs_counts(bed: Bed) {
    let (handler, gate) = Handler::gated();
    let app = bed.app(bed.layer(), &handler);
    let calls = ["completed", "taken"].map(|key| {
        let app = app.clone();
        tokio::spawn(async move { app.post(key, "").await })
    });
    until("both run", async || handler.calls() == 2).await;
    let held = taken(&bed, "completed").await;
    assert!(matches!(
        held.force_complete(&Receipt { receipt: 9 }).await.unwrap(),
        DecisionOutcome::Done { .. }
    ));
    let _held = taken(&bed, "taken").await;
    gate.open();
    let [completed, taken] = calls;
    let completed = completed.await.unwrap();
    assert_eq!((completed.text(), completed.is_replay()), ("{\"receipt\":9}", true));
    taken.await.unwrap().assert_problem(500, "uncertain");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_before_the_claim_runs_nothing_and_one_that_goes_away_later_gets_the_result() {
    for front in [Front::Axum, Front::Tower] {
        let bed = Bed::new(StoreKind::Memory, front).await;
        let (store, requests) = counted(bed.store.clone());
        let sentinel = Sentinel::new(store).retry_timeout(Duration::from_secs(1));
        let (handler, gate) = Handler::gated();
        let app = bed.app(layer(sentinel), &handler);
        requests.set_away(true);
        let refused = app.post("k", "").await;
        refused.assert_problem(503, "not-run");
        assert_eq!((refused.problem().ran.as_str(), refused.header("retry-after")), ("unknown", Some("1")));
        app.status("k").await.assert_problem(503, "not-run");
        assert_eq!(handler.calls(), 0);
        requests.set_away(false);
        let running = tokio::spawn({
            let app = app.clone();
            async move { app.post("k", "").await }
        });
        until("the handler runs", async || handler.calls() == 1).await;
        requests.set_away(true);
        gate.open();
        let got = running.await.unwrap();
        assert_eq!((got.status, got.text()), (201, "call 1"));
        assert!(got.header("sentinel-support").is_some());
        requests.set_away(false);
        until("the result is recorded", async || app.status("k").await.status == 201).await;
        assert!(app.post("k", "").await.is_replay());
        assert_eq!(handler.calls(), 1);
    }
}

#[tokio::test]
async fn a_service_that_fails_behind_the_layer_leaves_the_outcome_open() {
    use tower::{Layer as _, ServiceExt as _};
    let bed = Bed::new(StoreKind::Memory, Front::Tower).await;
    let fails = tower::service_fn(async |_: http::Request<Body>| Err::<http::Response<Body>, _>("timed out"));
    let service = bed.layer().layer(fails);
    let call = async || {
        crate::harness::Got::of(service.clone().oneshot(crate::harness::post("k", "")).await.unwrap()).await
    };
    call().await.assert_problem(500, "uncertain");
    call().await.assert_problem(500, "uncertain");
    // Without a key it is passed on, and its failure is an answer, too.
    let plain = crate::harness::request(http::Method::GET, "/charges", &[], "");
    assert_eq!(service.oneshot(plain).await.unwrap().status(), 500);
}
