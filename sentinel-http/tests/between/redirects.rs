//! H18: no key reaches the target of a redirect.

use reqwest::Client;
use sentinel_http::{Certainty, Refusal, SendError, SentinelHeaders, WithRun as _, certainty};

use crate::harness::{Server, answer, client, client_of, running};

fn redirect(status: u16, to: &str) -> Vec<u8> {
    answer(status, &format!("location: {to}\r\n"), "")
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_proves_nothing() {
    let (target, running) = (Server::answering(answer(200, "", "")).await, running("a").await);
    for status in [301, 302, 303, 307, 308] {
        let server = Server::answering(redirect(status, &target.url())).await;
        let http = client(SentinelHeaders::new().to([server.address.to_string()]));
        let answer =
            http.post(server.url()).with_run(&running.run, status.to_string()).body("{}").send().await;
        assert_eq!(certainty(&answer), Certainty::Unknown, "{status}");
        assert_eq!(answer.unwrap().status(), status);
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn a_client_that_follows_redirects_is_refused_before_anything_is_sent() {
    let (server, running) = (Server::answering(answer(200, "", "")).await, running("a").await);
    let policies = [reqwest::redirect::Policy::default(), reqwest::redirect::Policy::custom(|it| it.stop())];
    for policy in policies {
        let http = client_of(Client::builder().redirect(policy), SentinelHeaders::new());
        let answer = http.post(server.url()).with_run(&running.run, "book").body("{}").send().await;
        assert_eq!(certainty(&answer), Certainty::NothingHappened);
        let error = answer.unwrap_err();
        assert_eq!(SendError::of(&error).unwrap().refusal(), Some(Refusal::FollowsRedirects));
        assert!(error.to_string().contains("redirect(Policy::none())"), "{error}");
        // A body that is a stream is sent by the same client.
        let stream = reqwest::Body::wrap(http_body_util::Full::new(bytes::Bytes::from_static(b"{}")));
        let answer = http.post(server.url()).body(stream).with_run(&running.run, "book").send().await;
        assert_eq!(SendError::of(&answer.unwrap_err()).unwrap().refusal(), Some(Refusal::FollowsRedirects));
    }
    assert_eq!(server.connections(), 0);
}

/// Where the check was skipped, the answer of another URL proves nothing: the first server may have had an effect.
#[tokio::test]
async fn an_answer_of_another_url_proves_nothing() {
    let running = running("a").await;
    let target = Server::answering(answer(200, "", "")).await;
    let server = Server::answering(redirect(303, &target.url())).await;
    let http = client_of(Client::builder(), SentinelHeaders::new().redirects_are_off());
    let answer = http.post(server.url()).with_run(&running.run, "book").body("{}").send().await;
    assert_eq!(certainty(&answer), Certainty::Unknown);

    let closed = Server::answering(Vec::new()).await.stop().await;
    let server = Server::answering(redirect(303, &closed)).await;
    let answer = http.post(server.url()).with_run(&running.run, "pay").body("{}").send().await;
    assert!(matches!(&answer, Err(error) if error.is_connect()), "{answer:?}");
    assert_eq!(certainty(&answer), Certainty::Unknown);
}

#[tokio::test]
async fn a_request_that_has_a_key_is_refused() {
    let (server, running) = (Server::answering(answer(200, "", "")).await, running("a").await);
    let http = client(SentinelHeaders::new());
    let request = http.post(server.url()).header("Idempotency-Key", "mine");
    let answer = request.with_run(&running.run, "book").send().await;
    assert_eq!(certainty(&answer), Certainty::NothingHappened);
    assert_eq!(SendError::of(&answer.unwrap_err()).unwrap().refusal(), Some(Refusal::HasKey));
    assert_eq!(server.connections(), 0);
}
