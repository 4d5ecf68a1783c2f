//! H6: callers who go away, and drain.

use std::time::Duration;

use http::Request;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sentinel::drain::Work;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tower::ServiceExt as _;

use crate::harness::{App, Bed, Gate, Handler, on_every_store, post, until};

on_every_store! {
    a_caller_who_disconnects_does_not_end_the_handler
    a_reset_of_http2_does_not_end_the_handler
    an_outer_timeout_does_not_end_the_handler
    drain_waits_for_handlers_whose_callers_have_gone
}

/// The handler has begun and its caller has gone: it ends, and a retry gets its response.
async fn ends_and_is_replayed(app: &App, handler: &Handler, gate: &Gate) {
    gate.open();
    let got = app.post("k", "").await;
    assert_eq!((got.status, got.text(), got.is_replay()), (201, "call 1", true));
    assert_eq!(handler.calls(), 1);
}

pub(crate) async fn a_caller_who_disconnects_does_not_end_the_handler(bed: Bed) {
    let (handler, gate) = Handler::gated();
    let app = bed.app(bed.layer(), &handler);
    let mut stream = TcpStream::connect(app.serve().await).await.unwrap();
    let head = "POST /charges HTTP/1.1\r\nhost: x\r\nx-tenant: acme\r\nidempotency-key: k\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    until("the handler runs", async || handler.calls() == 1).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(1)).await;
    ends_and_is_replayed(&app, &handler, &gate).await;
}

pub(crate) async fn a_reset_of_http2_does_not_end_the_handler(bed: Bed) {
    let (handler, gate) = Handler::gated();
    let app = bed.app(bed.layer(), &handler);
    let address = app.serve().await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::post(format!("http://{address}/charges"))
        .header("x-tenant", "acme")
        .header("idempotency-key", "k")
        .body(Full::<bytes::Bytes>::default())
        .unwrap();
    let answer = tokio::spawn(sender.send_request(request));
    until("the handler runs", async || handler.calls() == 1).await;
    // Dropping the answer resets the stream; the connection stays.
    answer.abort();
    assert!(answer.await.unwrap_err().is_cancelled());
    ends_and_is_replayed(&app, &handler, &gate).await;
    connection.abort();
}

pub(crate) async fn an_outer_timeout_does_not_end_the_handler(bed: Bed) {
    let (handler, gate) = Handler::gated();
    let app = bed.app(bed.layer(), &handler);
    // The claim needs a moment on a slow store, so the timeout is of the test's own making: after the handler began.
    let call = tokio::spawn({
        let app = app.clone();
        async move { app.post("k", "").await }
    });
    until("the handler runs", async || handler.calls() == 1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    ends_and_is_replayed(&app, &handler, &gate).await;
    // The same by a layer of tower that times out.
    let (handler, gate) = Handler::gated();
    let app = bed.app(bed.layer(), &handler);
    let inner = app.clone();
    let service = tower::service_fn(move |request| {
        let inner = inner.clone();
        async move { Ok::<_, tower::BoxError>(inner.call(request).await) }
    });
    let timed = tower::timeout::Timeout::new(service, Duration::from_millis(10));
    while handler.calls() == 0 {
        assert!(timed.clone().oneshot(post("timed", "")).await.is_err());
    }
    gate.open();
    assert_eq!(app.post("timed", "").await.text(), "call 1");
}

pub(crate) async fn drain_waits_for_handlers_whose_callers_have_gone(bed: Bed) {
    let (handler, gate) = Handler::gated();
    let app = bed.app(bed.layer(), &handler);
    let call = tokio::spawn({
        let app = app.clone();
        async move { app.post("k", "").await }
    });
    until("the handler runs", async || handler.calls() == 1).await;
    call.abort();
    let left = bed.sentinel.drain(Duration::from_millis(1)).await;
    assert_eq!(left.unfinished.iter().map(|left| left.work).collect::<Vec<_>>(), [Work::Run]);
    let refused = app.post("new", "").await;
    refused.assert_problem(503, "not-run");
    gate.open();
    assert!(bed.sentinel.drain(Duration::from_secs(60)).await.is_complete());
    let elsewhere = bed.app(crate::harness::layer(bed.other_client()), &handler);
    assert!(elsewhere.post("k", "").await.is_replay());
}
