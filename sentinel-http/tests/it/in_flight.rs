//! H12, H24: requests whose key belongs to a run in progress, and services that are not ready.

use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use sentinel_http::{Body, InFlight, Problem};
use tokio::task::JoinHandle;
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::harness::{
    App, Bed, Front, Gate, Got, Handler, StoreKind, on_every_store, post, post_of, request, text, until,
};

on_every_store! {
    a_caller_who_waits_gets_the_result
    a_conflict_is_answered_at_once
    an_accepted_request_is_found_at_the_status_route_of_its_owner
    a_caller_can_prefer_a_shorter_wait_or_an_answer_at_once
}

/// A handler at a gate, and a first request that is inside.
async fn running(bed: &Bed, app: &App, handler: &Handler) -> JoinHandle<Got> {
    let (app, front) = (app.clone(), bed.front);
    let first = tokio::spawn(async move { app.post("k", "").await });
    until(&format!("the first runs ({front:?})"), async || handler.calls() == 1).await;
    first
}

pub(crate) async fn a_caller_who_waits_gets_the_result(bed: Bed) {
    let (handler, gate) = Handler::gated();
    let app = bed.app(bed.layer().in_flight(InFlight::Wait(Duration::from_secs(60))), &handler);
    let first = running(&bed, &app, &handler).await;
    let waiting = tokio::spawn({
        let app = app.clone();
        async move { app.post("k", "").await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!waiting.is_finished());
    gate.open();
    assert_eq!(waiting.await.unwrap().text(), "call 1");
    assert!(!first.await.unwrap().is_replay());
    // Another process waits by the store alone.
    let (handler, gate) = Handler::gated();
    let app = bed.app(bed.layer(), &handler);
    let elsewhere = bed.app(
        crate::harness::layer(bed.other_client()).in_flight(InFlight::Wait(Duration::from_secs(60))),
        &handler,
    );
    let first = tokio::spawn(async move { app.post("k2", "").await });
    until("it runs", async || handler.calls() == 1).await;
    let waiting = tokio::spawn(async move { elsewhere.post("k2", "").await });
    gate.open();
    assert!(waiting.await.unwrap().is_replay());
    assert!(!first.await.unwrap().is_replay());
}

pub(crate) async fn a_conflict_is_answered_at_once(bed: Bed) {
    let (handler, gate) = Handler::gated();
    let app = bed.app(bed.layer().in_flight(InFlight::Conflict), &handler);
    let first = running(&bed, &app, &handler).await;
    let refused = app.post("k", "").await;
    refused.assert_problem(409, "in-progress");
    assert_eq!((refused.problem().ran.as_str(), refused.header("retry-after")), ("unknown", Some("1")));
    let mapped =
        bed.layer().in_flight(InFlight::Conflict).status_of(Problem::InProgress, StatusCode::TOO_EARLY);
    bed.app(mapped.help("https://help.example"), &handler)
        .post("k", "")
        .await
        .assert_problem(425, "in-progress");
    gate.open();
    first.await.unwrap();
}

pub(crate) async fn an_accepted_request_is_found_at_the_status_route_of_its_owner(bed: Bed) {
    let (handler, gate) = Handler::gated();
    let app = bed.app(bed.layer().in_flight(InFlight::Accepted { status: "/requests" }), &handler);
    let first = running(&bed, &app, &handler).await;
    let accepted = app.post("k", "").await;
    assert_eq!((accepted.status, accepted.text()), (202, r#"{"state":"executing"}"#));
    let location = accepted.header("location").unwrap().to_owned();
    assert_eq!(location, "/requests?key=k");
    let polled = async |tenant| app.call(request(Method::GET, &location, &[("x-tenant", tenant)], "")).await;
    let executing = polled("acme").await;
    assert_eq!((executing.status, executing.header("retry-after")), (202, Some("1")));
    polled("other").await.assert_problem(404, "unknown-key");
    gate.open();
    first.await.unwrap();
    let got = polled("acme").await;
    assert_eq!((got.status, got.text(), got.is_replay()), (201, "call 1", true));
    polled("other").await.assert_problem(404, "unknown-key");
}

pub(crate) async fn a_caller_can_prefer_a_shorter_wait_or_an_answer_at_once(bed: Bed) {
    let (handler, gate) = Handler::gated();
    let layer = bed.layer().in_flight(InFlight::Wait(Duration::from_secs(3_600))).status_at("/requests");
    let app = bed.app(layer, &handler);
    let prefer = |key, preference: &str| {
        let mut request = post(key, "");
        request.headers_mut().insert("prefer", preference.parse().unwrap());
        request
    };
    let first = app.call(prefer("k", "respond-async")).await;
    assert_eq!((first.status, first.header("preference-applied")), (202, Some("respond-async")));
    assert_eq!(first.header("location"), Some("/requests?key=k"));
    let second = app.call(prefer("k", "respond-async")).await;
    assert_eq!((second.status, second.header("preference-applied")), (202, Some("respond-async")));
    let third = app.call(prefer("k", "wait=0")).await;
    third.assert_problem(409, "in-progress");
    assert_eq!(third.header("preference-applied"), Some("wait=0"));
    gate.open();
    until("it is completed", async || app.status("k").await.status == 201).await;
    assert_eq!(handler.calls(), 1);
    // What could not be accepted is refused at once.
    let other = app.call(prefer("k", "respond-async").map(|_| Body::from("other".to_owned()))).await;
    other.assert_problem(422, "key-reused");
    assert_eq!(app.call(post_of("other", "k", "")).await.text(), "call 2");
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_waited_does_not_get_the_response_to_another_request() {
    let bed = Bed::new(StoreKind::Memory, Front::Tower).await;
    let (store, requests) = crate::counted::counted(bed.store.clone());
    let elsewhere =
        sentinel::Sentinel::new(store).namespace(bed.sentinel.current_namespace().as_str()).unwrap();
    let gate = Gate::closed();
    let pass = gate.clone();
    let handler = Handler::new(move |request: Request<bytes::Bytes>, _| {
        let pass = pass.clone();
        async move {
            if request.body() == "another" {
                return text(201, "the other answer");
            }
            pass.pass().await;
            let mut response = text(503, "not sent");
            response.extensions_mut().insert(sentinel_http::NothingHappened);
            response
        }
    });
    let app = bed.app(bed.layer(), &handler);
    let hour = InFlight::Wait(Duration::from_secs(3_600));
    let waits = bed.app(crate::harness::layer(elsewhere).in_flight(hour), &handler);
    let first = running(&bed, &app, &handler).await;
    let before = requests.operations();
    let waiting = tokio::spawn(async move { waits.post("k", "").await });
    until("it was refused, and waits", async || requests.operations() > before).await;
    // It sees the key again only when another request has completed under it.
    requests.set_unreadable(true);
    gate.open();
    assert_eq!(first.await.unwrap().status, 503);
    assert_eq!(app.post("k", "another").await.status, 201);
    requests.set_unreadable(false);
    let refused = waiting.await.unwrap();
    refused.assert_problem(422, "key-reused");
    assert!(!refused.text().contains("the other answer"));
}

/// An inner service that has one place.
fn with_one_place(bed: &Bed, handler: Handler) -> App {
    let inner = service_fn(move |request: Request<Body>| {
        let handler = handler.clone();
        async move { Ok::<Response<Body>, std::convert::Infallible>(handler.answer(request).await) }
    });
    let layer = bed.layer().ready_within(Duration::from_secs(5));
    let limited = ConcurrencyLimitLayer::new(1).layer(inner);
    let service = layer.layer(limited);
    App::of(service_fn(move |request: Request<Body>| service.clone().oneshot(request)))
}

#[tokio::test(start_paused = true)]
async fn replays_do_not_wait_for_a_busy_service_and_a_run_waits_for_5_seconds() {
    let bed = Bed::new(StoreKind::Memory, Front::Tower).await;
    let gate = Gate::closed();
    let pass = gate.clone();
    let handler = Handler::new(move |request: Request<bytes::Bytes>, call| {
        let pass = pass.clone();
        async move {
            if request.body() == "slow" {
                pass.pass().await;
            }
            text(201, format!("call {call}"))
        }
    });
    let app = with_one_place(&bed, handler.clone());
    app.post("done", "").await;
    let slow = tokio::spawn({
        let app = app.clone();
        async move { app.post("slow", "slow").await }
    });
    until("the one place is taken", async || handler.calls() == 2).await;
    let sent = tokio::time::Instant::now();
    assert!(app.post("done", "").await.is_replay());
    assert!(sent.elapsed() < Duration::from_millis(50), "{:?}", sent.elapsed());
    let sent = tokio::time::Instant::now();
    app.post("new", "").await.assert_problem(503, "busy");
    assert_eq!(sent.elapsed().as_secs(), 5);
    gate.open();
    slow.await.unwrap();
    assert_eq!(app.post("new", "").await.text(), "call 3", "the key is free");
}
