//! H10: responses of any size and form.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use sentinel_http::Body;

use crate::harness::{Bed, Front, Gate, Handler, StoreKind, on_every_store, post, text, until};

on_every_store! {
    a_response_over_the_limit_is_passed_on_and_not_replayed
    responses_without_a_body_are_replayed
    trailers_reach_the_first_caller
    a_body_that_breaks_leaves_the_outcome_open
    events_are_passed_on_while_they_are_recorded
}

const LIMIT: usize = 64 << 10;

pub(crate) async fn a_response_over_the_limit_is_passed_on_and_not_replayed(bed: Bed) {
    let handler = Handler::new(async |request: http::Request<Bytes>, _| {
        let size: usize = std::str::from_utf8(request.body()).unwrap().parse().unwrap();
        let mut response = text(201, "");
        *response.body_mut() = Body::from(Bytes::from(vec![b'x'; size]));
        response.headers_mut().insert("location", "/charges/1".parse().unwrap());
        response
    });
    let app = bed.app(bed.layer().response_limit(LIMIT), &handler);
    for size in [LIMIT - 1, LIMIT, LIMIT + 1, 4 * LIMIT] {
        let key = size.to_string();
        let first = app.post(&key, &key).await;
        assert_eq!((first.status, first.body.len()), (201, size));
        let again = app.post(&key, &key).await;
        if size <= LIMIT {
            assert!(again.is_replay());
            assert_eq!(again.body.len(), size);
        } else {
            until("the end of the body is recorded", async || app.post(&key, &key).await.status == 410).await;
            let again = app.post(&key, &key).await;
            again.assert_problem(410, "result-not-stored");
            assert_eq!(again.header("location"), Some("/charges/1"));
            let document = again.problem().document;
            assert_eq!((&document["original_status"], &document["ran"]), (&201.into(), &"yes".into()));
            app.status(&key).await.assert_problem(410, "result-not-stored");
        }
    }
    assert_eq!(handler.calls(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_of_200_mib_is_never_held_whole() {
    let bed = Bed::new(StoreKind::Memory, Front::Tower).await;
    let handler = Handler::new(async |_, _| {
        let chunk = Bytes::from(vec![b'x'; 1 << 20]);
        let chunks = stream::iter((0..200).map(move |_| Ok::<_, std::io::Error>(Frame::data(chunk.clone()))));
        Response::new(Body::new(StreamBody::new(chunks)))
    });
    let app = bed.app(bed.layer(), &handler);
    let mut body = app.head(post("k", "")).await.into_body();
    // The handler is held back while its caller does not read: at most a few chunks are under way.
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(length, 200 << 20);
    until("the end is recorded", async || app.post("k", "").await.status == 410).await;
    assert_eq!(handler.calls(), 1);
}

#[tokio::test]
async fn the_rest_of_a_response_is_read_if_its_caller_goes_away() {
    let bed = Bed::new(StoreKind::Memory, Front::Tower).await;
    let handler = Handler::new(async |_, _| {
        let chunks = stream::iter(
            (0..64).map(|_| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![b'x'; 1 << 18])))),
        );
        Response::new(Body::new(StreamBody::new(chunks)))
    });
    let app = bed.app(bed.layer(), &handler);
    let mut body = app.head(post("k", "")).await.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    until("the end is recorded", async || app.post("k", "").await.status == 410).await;
    assert_eq!(handler.calls(), 1);
}

pub(crate) async fn responses_without_a_body_are_replayed(bed: Bed) {
    let handler = Handler::new(async |request: http::Request<Bytes>, _| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = std::str::from_utf8(request.body()).unwrap().parse().unwrap();
        response
    });
    let app = bed.app(bed.layer(), &handler);
    for status in ["204", "304", "303"] {
        let first = app.post(status, status).await;
        let again = app.post(status, status).await;
        assert!(again.is_replay());
        assert_eq!((first.status, first.body.len()), (again.status, again.body.len()));
    }
}

pub(crate) async fn trailers_reach_the_first_caller(bed: Bed) {
    let handler = Handler::new(async |_, _| {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "9".parse().unwrap());
        let body = Full::new(Bytes::from("body")).with_trailers(async move { Some(Ok(trailers)) });
        Response::new(Body::new(body))
    });
    let app = bed.app(bed.layer(), &handler);
    let first = app.head(post("k", "")).await.into_body().collect().await.unwrap();
    assert_eq!(first.trailers().unwrap()["x-sum"], "9");
    let again = app.head(post("k", "")).await.into_body().collect().await.unwrap();
    assert!(again.trailers().is_none());
    assert_eq!(again.to_bytes(), "body");
}

pub(crate) async fn a_body_that_breaks_leaves_the_outcome_open(bed: Bed) {
    let handler = Handler::new(async |_, _| {
        let chunks = [Ok(Frame::data(Bytes::from("half"))), Err(std::io::Error::other("broken"))];
        Response::new(Body::new(StreamBody::new(stream::iter(chunks))))
    });
    let app = bed.app(bed.layer(), &handler);
    app.post("k", "").await.assert_problem(500, "uncertain");
    app.post("k", "").await.assert_problem(500, "uncertain");
    assert_eq!(handler.calls(), 1);
}

fn events(gate: Gate) -> Handler {
    Handler::new(move |_, _| {
        let pass = gate.clone();
        async move {
            let first =
                stream::once(async { Ok::<_, std::io::Error>(Frame::data(Bytes::from("data: 1\n\n"))) });
            let second = stream::once(async move {
                pass.pass().await;
                Ok(Frame::data(Bytes::from("data: 2\n\n")))
            });
            let mut response = Response::new(Body::new(StreamBody::new(first.chain(second).boxed())));
            response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
            response
        }
    })
}

pub(crate) async fn events_are_passed_on_while_they_are_recorded(bed: Bed) {
    let gate = Gate::closed();
    let handler = events(gate.clone());
    let app = bed.app(bed.layer(), &handler);
    let mut body = app.head(post("k", "")).await.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: 1\n\n");
    gate.open();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: 2\n\n");
    assert!(body.frame().await.is_none());
    until("the events are recorded", async || app.post("k", "").await.is_replay()).await;
    assert_eq!(app.post("k", "").await.text(), "data: 1\n\ndata: 2\n\n");
    assert_eq!(handler.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_takes_longer_than_two_seconds_is_passed_on_while_it_is_read() {
    let bed = Bed::new(StoreKind::Memory, Front::Tower).await;
    let handler = Handler::new(async |_, _| {
        let slow = stream::iter(0..5).then(async |n| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, std::io::Error>(Frame::data(Bytes::from(format!("{n}"))))
        });
        Response::new(Body::new(StreamBody::new(slow.boxed())))
    });
    let app = bed.app(bed.layer(), &handler);
    let sent = tokio::time::Instant::now();
    let head = app.head(post("k", "")).await;
    assert_eq!(sent.elapsed().as_secs(), 2);
    assert_eq!(head.into_body().collect().await.unwrap().to_bytes(), "01234");
    until("it is recorded", async || app.post("k", "").await.is_replay()).await;
    assert_eq!(app.post("k", "").await.text(), "01234");
}
