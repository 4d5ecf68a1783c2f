//! The client sends a request of a run once, whatever its own policy for retries is.

use reqwest::Client;
use reqwest::redirect::Policy;
use sentinel_http::{Certainty, SentinelHeaders, WithRun as _, certainty};

use crate::harness::{Script, Server, answer, client, client_of, running};

#[tokio::test]
async fn a_retry_policy_of_the_client_sends_no_second_copy() {
    let running = running("a").await;
    let server =
        Server::start([Script::Answer(answer(503, "", "")), Script::Answer(answer(200, "", ""))]).await;
    let always = reqwest::retry::for_host("127.0.0.1").no_budget().classify_fn(|reply| {
        if reply.status().is_some_and(|s| s == 200) { reply.success() } else { reply.retryable() }
    });
    let http = client_of(Client::builder().redirect(Policy::none()).retry(always), SentinelHeaders::new());
    // The policy works for a request without a run.
    assert_eq!(http.post(server.url()).body("{}").send().await.unwrap().status(), 200);
    assert_eq!(server.requests().len(), 2);

    let server =
        Server::start([Script::Answer(answer(503, "", "")), Script::Answer(answer(200, "", ""))]).await;
    for (n, body) in ["{}", ""].into_iter().enumerate() {
        let request = http.post(server.url()).with_run(&running.run, n.to_string()).body(body);
        let answer = request.send().await;
        let expected = if n == 0 { Certainty::Unknown } else { Certainty::Happened };
        assert_eq!(certainty(&answer), expected);
        assert_eq!(server.requests().len(), n + 1);
    }
}

/// An idle connection that the server has closed is replaced by another one before anything is sent.
#[tokio::test]
async fn a_request_is_moved_to_another_connection_only_before_it_is_sent() {
    let running = running("a").await;
    let server = Server::answering(answer(200, "", "")).await;
    let http = client(SentinelHeaders::new());
    for n in 1..=5 {
        let answer = http.post(server.url()).with_run(&running.run, n.to_string()).body("{}").send().await;
        // Whether the pool has noticed the end of its connection is a race; a second copy would be an error.
        assert!(matches!(certainty(&answer), Certainty::Happened | Certainty::Unknown), "{answer:?}");
        assert!(server.requests().len() <= n, "{n}");
    }
}
