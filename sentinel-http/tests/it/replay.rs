//! H1, H9, H11, H16: one run, and replays that equal its response.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, Method, Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use sentinel::cache::ReplayCache;
use sentinel::policy::Policy;
use sentinel::prelude::*;
use sentinel_http::Body;

use crate::harness::{App, Bed, Handler, layer, on_every_store, post, request, text, until};

on_every_store! {
    of_24_concurrent_requests_one_runs_and_the_others_get_its_response
    one_caller_gets_a_cookie_and_no_replay_and_no_store_does
    repeated_fields_and_bytes_beyond_ascii_are_replayed_as_they_were
    a_route_names_further_fields_to_replay
    a_coding_of_the_handler_is_replayed_and_the_callers_wish_for_one_does_not_reach_it
    after_the_retention_it_runs_again
    what_a_handler_claims_about_replays_is_removed
}

pub(crate) async fn of_24_concurrent_requests_one_runs_and_the_others_get_its_response(bed: Bed) {
    let handler = Handler::counting();
    let here = bed.app(bed.layer(), &handler);
    let there = App::of(tower_layer::Layer::layer(&layer(bed.other_client()), ByTower(handler.clone())));
    let calls = (0..24).map(|n| {
        let app = if n % 2 == 0 { &here } else { &there };
        async move {
            match n % 3 {
                0 => app.call(in_chunks_of_one_byte("k", "body")).await,
                _ => app.post("k", "body").await,
            }
        }
    });
    let got = join_all(calls).await;
    assert_eq!(handler.calls(), 1);
    assert_eq!(got.iter().filter(|got| !got.is_replay()).count(), 1);
    let (mut statuses, mut bodies, mut fields) = (HashSet::new(), HashSet::new(), HashSet::new());
    for got in &got {
        statuses.insert(got.status);
        bodies.insert(got.body.clone());
        fields.insert((got.header("location"), got.header("content-type")));
    }
    assert_eq!(statuses, HashSet::from([201]));
    assert_eq!(bodies, HashSet::from([Bytes::from("call 1: body")]));
    assert_eq!(fields, HashSet::from([(Some("/charges/1"), Some("text/plain"))]));
}

/// The handler as a service of tower, for a second process in front of the same store.
#[derive(Clone)]
struct ByTower(Handler);

impl tower::Service<Request<Body>> for ByTower {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = futures_util::future::BoxFuture<'static, Result<Response<Body>, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let handler = self.0.clone();
        Box::pin(async move { Ok(handler.answer(request).await) })
    }
}

fn in_chunks_of_one_byte(key: &str, body: &'static str) -> Request<Body> {
    let frames =
        body.as_bytes().chunks(1).map(|byte| Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(byte))));
    let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
    post(key, "").map(|_| body)
}

pub(crate) async fn one_caller_gets_a_cookie_and_no_replay_and_no_store_does(bed: Bed) {
    let handler = Handler::new(async |_, _| {
        let mut response = text(200, "welcome");
        response.headers_mut().insert("set-cookie", "session=s3cr3t-of-one-caller".parse().unwrap());
        response.headers_mut().insert("x-trace", "not to be stored".parse().unwrap());
        response
    });
    let app = bed.app(bed.layer(), &handler);
    let first = app.post("k", "").await;
    assert_eq!(first.header("set-cookie"), Some("session=s3cr3t-of-one-caller"));
    let again = app.post("k", "").await;
    assert!(again.is_replay());
    assert_eq!((again.header("set-cookie"), again.header("x-trace")), (None, None));
    let inspection = bed.sentinel.inspect(sentinel::record::Kind::Execution, "acme/k").await.unwrap();
    let stored = inspection.record.unwrap().result.unwrap().payload.bytes;
    let stored = String::from_utf8_lossy(&stored).into_owned();
    assert!(
        stored.contains("welcome") && !stored.contains("s3cr3t") && !stored.contains("x-trace"),
        "{stored}"
    );
}

pub(crate) async fn repeated_fields_and_bytes_beyond_ascii_are_replayed_as_they_were(bed: Bed) {
    let handler = Handler::new(async |_, _| {
        let mut response = text(201, "ok");
        let headers = response.headers_mut();
        for link in ["</a>; rel=\"x\", </b>; rel=\"y\"", "</c>"] {
            headers.append("link", link.parse().unwrap());
        }
        headers.insert(
            "content-disposition",
            HeaderValue::from_bytes(b"attachment; filename=\"\xe4\"").unwrap(),
        );
        headers.insert("vary", HeaderValue::from_static(""));
        response
    });
    let app = bed.app(bed.layer(), &handler);
    let (first, again) = (app.post("k", "").await, app.post("k", "").await);
    assert!(again.is_replay());
    for name in ["link", "content-disposition", "vary", "content-type"] {
        let all = |got: &crate::harness::Got| got.headers.get_all(name).iter().cloned().collect::<Vec<_>>();
        assert_eq!(all(&first), all(&again), "{name}");
    }
    assert_eq!(again.headers.get_all("link").iter().count(), 2);
}

pub(crate) async fn a_route_names_further_fields_to_replay(bed: Bed) {
    let handler = Handler::new(async |_, _| {
        let mut response = text(201, "ok");
        response.headers_mut().insert("x-order-id", "42".parse().unwrap());
        response
    });
    let app = bed.app(bed.layer().replay_header("x-order-id"), &handler);
    app.post("k", "").await;
    assert_eq!(app.post("k", "").await.header("x-order-id"), Some("42"));
}

#[tokio::test]
async fn a_field_that_belongs_to_one_caller_cannot_be_named() {
    for name in ["set-cookie", "www-authenticate", "access-control-allow-origin", "date", "content-length"] {
        let sentinel = Sentinel::new(MemoryStore::new());
        let named =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| layer(sentinel).replay_header(name)));
        assert!(named.is_err(), "{name}");
    }
}

pub(crate) async fn a_coding_of_the_handler_is_replayed_and_the_callers_wish_for_one_does_not_reach_it(
    bed: Bed,
) {
    let handler = Handler::new(async |request: Request<Bytes>, _| {
        assert!(!request.headers().contains_key("accept-encoding"));
        let mut response = text(200, "coded");
        response.headers_mut().insert("content-encoding", "x-own".parse().unwrap());
        response
    });
    let app = bed.app(bed.layer(), &handler);
    let fields = [("x-tenant", "acme"), ("idempotency-key", "k"), ("accept-encoding", "gzip")];
    let first = app.call(request(Method::POST, "/charges", &fields, "")).await;
    let again = app.post("k", "").await;
    assert!(again.is_replay());
    assert_eq!(
        (first.header("content-encoding"), again.header("content-encoding")),
        (Some("x-own"), Some("x-own"))
    );
}

pub(crate) async fn after_the_retention_it_runs_again(bed: Bed) {
    let handler = Handler::counting();
    let app = bed.app(bed.layer().policy(Policy::new().retention(Duration::from_millis(300))), &handler);
    app.post("k", "").await;
    until("the retention is over", async || !app.post("k", "").await.is_replay()).await;
    assert_eq!(handler.calls(), 2);
}

pub(crate) async fn what_a_handler_claims_about_replays_is_removed(bed: Bed) {
    let handler = Handler::new(async |_, _| {
        let mut response = text(200, "of another service");
        response.headers_mut().insert("idempotency-replayed", "true".parse().unwrap());
        response.headers_mut().insert("sentinel-support", "1".parse().unwrap());
        response
    });
    let app = bed.app(bed.layer(), &handler);
    let first = app.post("k", "").await;
    assert_eq!((first.header("idempotency-replayed"), first.header("sentinel-support")), (None, None));
    let again = app.post("k", "").await;
    assert_eq!(
        (again.header("idempotency-replayed"), again.header("sentinel-support")),
        (Some("true"), None)
    );
}

#[tokio::test]
async fn with_a_cache_a_second_replay_asks_no_store_and_another_body_is_still_refused() {
    let bed = Bed::new(crate::harness::StoreKind::Memory, crate::harness::Front::Tower).await;
    let (counted, requests) = crate::counted::counted(bed.store.clone());
    let sentinel = Sentinel::new(ReplayCache::new(counted)).namespace("cached").unwrap();
    let handler = Handler::counting();
    let app = bed.app(layer(sentinel), &handler);
    app.post("k", "a").await;
    assert!(app.post("k", "a").await.is_replay());
    let before = requests.total();
    assert!(app.post("k", "a").await.is_replay());
    assert_eq!(requests.total(), before);
    app.post("k", "b").await.assert_problem(422, "key-reused");
    assert_eq!(handler.calls(), 1);
}
