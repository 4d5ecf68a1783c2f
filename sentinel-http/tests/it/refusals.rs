//! H4, H5, H11, H14: requests that are refused.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body::Frame;
use http_body_util::StreamBody;
use sentinel_http::{Body, Limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{Bed, Front, Gate, Handler, StoreKind, on_every_store, post, request, text, until};

on_every_store! {
    another_request_under_the_same_key_is_refused_also_while_the_first_runs
    safe_methods_with_a_key_leave_no_record
}

pub(crate) async fn another_request_under_the_same_key_is_refused_also_while_the_first_runs(bed: Bed) {
    let gate = Gate::closed();
    let pass = gate.clone();
    let handler = Handler::new(move |_, _| {
        let pass = pass.clone();
        async move {
            pass.pass().await;
            text(200, "the first answer")
        }
    });
    let app = bed.app(bed.layer(), &handler);
    let fields = [("x-tenant", "acme"), ("idempotency-key", "k"), ("content-type", "application/json")];
    let first = {
        let (app, request) = (app.clone(), request(Method::POST, "/charges?a=1", &fields, "{}"));
        tokio::spawn(async move { app.call(request).await })
    };
    until("the first runs", async || handler.calls() == 1).await;
    let others = || {
        let plain = [("x-tenant", "acme"), ("idempotency-key", "k"), ("content-type", "text/plain")];
        [
            request(Method::PATCH, "/charges?a=1", &fields, "{}"),
            request(Method::POST, "/notes?a=1", &fields, "{}"),
            request(Method::POST, "/charges?a=2", &fields, "{}"),
            request(Method::POST, "/charges", &fields, "{}"),
            request(Method::POST, "/charges?a=1", &fields, "{} "),
            request(Method::POST, "/charges?a=1", &plain, "{}"),
        ]
    };
    for other in others() {
        app.call(other).await.assert_problem(422, "key-reused");
    }
    gate.open();
    first.await.unwrap();
    for other in others() {
        let got = app.call(other).await;
        got.assert_problem(422, "key-reused");
        assert!(!got.text().contains("the first answer"));
        assert_eq!(got.problem().document["retry"], "new-key");
    }
    assert_eq!(handler.calls(), 1);
}

#[tokio::test]
async fn a_nested_route_has_the_fingerprint_of_the_address_that_was_received() {
    let bed = Bed::new(StoreKind::Memory, Front::Axum).await;
    let handler = Handler::counting();
    let app = bed.app(bed.layer(), &handler);
    let fields = [("x-tenant", "acme"), ("idempotency-key", "k")];
    app.call(request(Method::POST, "/nested/charges", &fields, "")).await;
    assert!(app.call(request(Method::POST, "/nested/charges", &fields, "")).await.is_replay());
    app.call(request(Method::POST, "/charges", &fields, "")).await.assert_problem(422, "key-reused");
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_refused_and_nothing_runs() {
    for front in [Front::Axum, Front::Tower] {
        let bed = Bed::new(StoreKind::Memory, front).await;
        let handler = Handler::counting();
        let app = bed.app(bed.layer(), &handler);
        let long = "k".repeat(256);
        for key in
            [&b""[..], long.as_bytes(), b"\"open", b"\xc3\xa4", b"\"a\",\"b\"", b"a b", b"\"a\tb\"", b"a,b"]
        {
            let mut request = post("k", "");
            request.headers_mut().insert("idempotency-key", http::HeaderValue::from_bytes(key).unwrap());
            let got = app.call(request).await;
            got.assert_problem(400, "key-malformed");
            assert_eq!(
                (got.problem().ran.as_str(), &got.problem().document["retry"]),
                ("no", &"corrected".into())
            );
        }
        let mut twice = post("k", "");
        twice.headers_mut().append("idempotency-key", "k".parse().unwrap());
        app.call(twice).await.assert_problem(400, "key-malformed");
        let none = request(Method::POST, "/charges", &[("x-tenant", "acme")], "");
        app.call(none).await.assert_problem(400, "key-missing");
        assert_eq!(handler.calls(), 0);
        for (n, key) in ["k", "\"k\"", "\"k\";x=1"].iter().enumerate() {
            assert_eq!(app.post(key, "").await.is_replay(), n > 0, "{key}");
        }
    }
}

pub(crate) async fn safe_methods_with_a_key_leave_no_record(bed: Bed) {
    let handler = Handler::counting();
    let app = bed.app(bed.layer(), &handler);
    let fields = [("x-tenant", "acme"), ("idempotency-key", "k")];
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        for _ in 0..2 {
            assert!(!app.call(request(method.clone(), "/charges", &fields, "")).await.is_replay());
        }
    }
    assert_eq!(handler.calls(), 6);
    let listing = bed.sentinel.list(sentinel::record::Kind::Execution, None, None, 10).await.unwrap();
    assert!(listing.records.is_empty());
}

#[tokio::test]
async fn an_optional_route_passes_requests_without_a_key_on() {
    for front in [Front::Axum, Front::Tower] {
        let bed = Bed::new(StoreKind::Memory, front).await;
        let handler = Handler::counting();
        let app = bed.app(bed.layer().optional(), &handler);
        for n in 1..=2 {
            let got = app.call(request(Method::POST, "/charges", &[], "x")).await;
            assert_eq!(got.text(), format!("call {n}: x"));
        }
        app.post("k", "x").await;
        assert!(app.post("k", "x").await.is_replay());
    }
}

#[tokio::test]
async fn what_cannot_be_replayed_is_refused() {
    let bed = Bed::new(StoreKind::Memory, Front::Tower).await;
    let handler = Handler::counting();
    let app = bed.app(bed.layer(), &handler);
    for (name, value) in [("content-type", "application/grpc+proto"), ("upgrade", "websocket")] {
        let fields = [("x-tenant", "acme"), ("idempotency-key", "k"), (name, value)];
        app.call(request(Method::POST, "/charges", &fields, "")).await.assert_problem(415, "unsupported");
    }
    assert_eq!(handler.calls(), 0);
}

#[tokio::test]
async fn a_method_that_has_no_effect_cannot_be_given_keys() {
    let bed = Bed::new(StoreKind::Memory, Front::Tower).await;
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
        let layer = bed.layer();
        let named =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| layer.methods([method.clone()])));
        assert!(named.is_err(), "{method}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_however_it_is_sent() {
    for front in [Front::Axum, Front::Tower] {
        let bed = Bed::new(StoreKind::Memory, front).await;
        let handler = Handler::counting();
        let app = bed.app(bed.layer(), &handler);
        let limit = 1 << 20;
        assert_eq!(app.post("fits", &"x".repeat(limit)).await.status, 201);
        app.post("more", &"x".repeat(limit + 1)).await.assert_problem(413, "body-too-large");
        let chunk = || Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![b'x'; 64 << 10])));
        let chunks = futures_util::stream::iter((0..17).map(move |_| chunk()));
        let unknown = post("chunked", "").map(|_| Body::new(StreamBody::new(chunks)));
        app.call(unknown).await.assert_problem(413, "body-too-large");
        assert_eq!(handler.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_in_time_is_refused() {
    let bed = Bed::new(StoreKind::Memory, Front::Tower).await;
    let handler = Handler::counting();
    let app = bed.app(bed.layer().request_limit(1 << 20, Duration::from_secs(10)), &handler);
    let pending = futures_util::stream::pending::<Result<Frame<Bytes>, std::io::Error>>();
    let slow = post("k", "").map(|_| Body::new(StreamBody::new(pending)));
    let sent = tokio::time::Instant::now();
    let got = app.call(slow).await;
    got.assert_problem(408, "body-too-slow");
    assert!((10..12).contains(&sent.elapsed().as_secs()));
    assert_eq!((handler.calls(), got.problem().ran.as_str()), (0, "unknown"));
}

#[tokio::test]
async fn a_bad_key_is_refused_before_the_body_is_asked_for() {
    let bed = Bed::new(StoreKind::Memory, Front::Tower).await;
    let limits = Limits { buffered_bytes: 1_000, shares: 1, ..Limits::default() };
    let app = bed.app(bed.layer().limits(limits), &Handler::counting());
    let address = app.serve().await;
    for (key, length, expected) in [("\"open", 10, "400"), ("k", 1_001, "503"), ("k", (1 << 20) + 1, "413")] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /charges HTTP/1.1\r\nhost: x\r\nx-tenant: acme\r\nidempotency-key: {key}\r\ncontent-length: \
             {length}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {expected}"));
    }
}

#[tokio::test]
async fn options_of_the_fingerprint_make_equal_requests_equal() {
    let bed = Bed::new(StoreKind::Memory, Front::Tower).await;
    let handler = Handler::counting();
    let json = bed.app(bed.layer().fingerprint_json(), &handler);
    json.post("json", r#"{"a":1,"b":[2]}"#).await;
    assert!(json.post("json", r#"{ "b": [2], "a": 1 }"#).await.is_replay());
    json.post("json", r#"{"a":1.0,"b":[2]}"#).await.assert_problem(422, "key-reused");
    let own = bed.app(bed.layer().fingerprint(|_, body| body[..1].to_vec()), &handler);
    own.post("own", "a1").await;
    assert!(own.post("own", "a2").await.is_replay());
    own.post("own", "b1").await.assert_problem(422, "key-reused");
    let secret = bed.app(bed.layer().fingerprint_secret("s"), &handler);
    secret.post("secret", "a").await;
    assert!(secret.post("secret", "a").await.is_replay());
    bed.app(bed.layer(), &handler).post("secret", "a").await.assert_problem(422, "key-reused");
    let accept = bed.app(bed.layer().fingerprint_headers(["accept"]), &handler);
    let asks = |kind| {
        request(
            Method::POST,
            "/charges",
            &[("x-tenant", "acme"), ("idempotency-key", "a"), ("accept", kind)],
            "",
        )
    };
    accept.call(asks("text/plain")).await;
    accept.call(asks("text/html")).await.assert_problem(422, "key-reused");
    let streamed = bed.app(bed.layer().stream_body(), &handler);
    let digest = |digest, body| {
        let fields = [("x-tenant", "acme"), ("idempotency-key", "up"), ("content-digest", digest)];
        request(Method::POST, "/charges", &fields, body)
    };
    streamed.call(digest("sha-256=:YQ==:", "a")).await;
    assert!(streamed.call(digest("sha-256=:YQ==:", "b")).await.is_replay(), "the body was not read");
    streamed.call(digest("sha-256=:Yg==:", "a")).await.assert_problem(422, "key-reused");
}

/// A handler that answers with the request's fields.
#[tokio::test]
async fn a_request_reaches_the_handler_whole() {
    let bed = Bed::new(StoreKind::Memory, Front::Axum).await;
    let handler = Handler::new(async |request: Request<Bytes>, _| {
        assert!(request.extensions().get::<sentinel::Run>().is_some());
        text(200, format!("{} {:?}", request.headers()["x-own"].to_str().unwrap(), request.body()))
    });
    let app = bed.app(bed.layer(), &handler);
    let fields = [("x-tenant", "acme"), ("idempotency-key", "k"), ("x-own", "mine")];
    assert_eq!(app.call(request(Method::POST, "/charges", &fields, "all")).await.text(), "mine b\"all\"");
}
