//! H23: the extractors of axum.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::IntoResponse as _;
use axum::routing::post;
use http::{Method, StatusCode};
use sentinel_http::{Body, FailedForGood, Idempotent, IdempotentRun, NothingHappened};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::harness::{App, Bed, Front, StoreKind, request};

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    cents: u32,
}

type Calls = Arc<AtomicU32>;

async fn charge(
    State(calls): State<Calls>,
    Idempotent { run, body: Json(order) }: Idempotent<Json<Order>>,
) -> String {
    let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
    assert!(run.idempotency_key().starts_with("snl_"));
    format!("call {call}: {}", order.cents)
}

async fn plain(
    State(calls): State<Calls>,
    IdempotentRun(_): IdempotentRun,
    Json(order): Json<Order>,
) -> String {
    let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
    format!("call {call}: {}", order.cents)
}

async fn maybe(run: Option<IdempotentRun>) -> String {
    format!("{}", run.is_some())
}

async fn vouches(request: Request) -> axum::response::Response {
    match request.headers()["x-vouch"].as_bytes() {
        b"nothing" => (NothingHappened, StatusCode::BAD_GATEWAY).into_response(),
        _ => (FailedForGood, StatusCode::BAD_GATEWAY).into_response(),
    }
}

async fn app(calls: &Calls) -> App {
    let bed = Bed::new(StoreKind::Memory, Front::Axum).await;
    let router = axum::Router::new()
        .route("/charges", post(charge).layer(bed.layer()))
        .route("/plain", post(plain).layer(bed.layer()))
        .route("/maybe", post(maybe).layer(bed.layer().optional()))
        .route("/vouches", post(vouches).layer(bed.layer()))
        .route("/forgotten", post(charge))
        .with_state(calls.clone());
    App::of(tower::ServiceExt::map_response(
        router.into_service::<Body>(),
        |response: http::Response<axum::body::Body>| response.map(Body::new),
    ))
}

fn json(path: &str, key: &str, body: &str) -> http::Request<Body> {
    let fields = [("x-tenant", "acme"), ("idempotency-key", key), ("content-type", "application/json")];
    request(Method::POST, path, &fields, body)
}

#[tokio::test]
async fn a_malformed_body_leaves_the_key_free_and_the_corrected_body_runs_under_it() {
    let calls = Calls::default();
    let app = app(&calls).await;
    assert_eq!(app.call(json("/charges", "k", "{\"cents\":")).await.status, 400);
    assert_eq!(app.call(json("/charges", "k", "{\"cents\":\"x\"}")).await.status, 422);
    assert_eq!(app.call(json("/charges", "k", "{\"cents\":5}")).await.text(), "call 1: 5");
    assert!(app.call(json("/charges", "k", "{\"cents\":5}")).await.is_replay());
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn without_the_extractor_of_this_crate_a_refusal_is_recorded_like_any_response() {
    let calls = Calls::default();
    let app = app(&calls).await;
    let first = app.call(json("/plain", "k", "{")).await;
    let again = app.call(json("/plain", "k", "{")).await;
    assert_eq!((first.status, again.status, again.is_replay()), (400, 400, true));
    app.call(json("/plain", "k", "{\"cents\":5}")).await.assert_problem(422, "key-reused");
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_run_is_there_where_a_key_is_and_a_forgotten_layer_is_an_error() {
    let app = app(&Calls::default()).await;
    assert_eq!(app.call(json("/maybe", "k", "")).await.text(), "true");
    assert_eq!(app.call(request(Method::POST, "/maybe", &[], "")).await.text(), "false");
    assert_eq!(app.call(json("/forgotten", "k", "{\"cents\":5}")).await.status, 500);
}

#[tokio::test]
async fn a_handler_vouches_in_its_response() {
    let app = app(&Calls::default()).await;
    let vouch = |key, vouch: &str| {
        let mut request = json("/vouches", key, "");
        request.headers_mut().insert("x-vouch", vouch.parse().unwrap());
        request
    };
    assert!(!app.call(vouch("a", "nothing")).await.is_replay());
    assert!(!app.call(vouch("a", "nothing")).await.is_replay());
    assert!(!app.call(vouch("b", "failed")).await.is_replay());
    assert!(app.call(vouch("b", "failed")).await.is_replay());
}
