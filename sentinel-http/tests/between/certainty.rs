//! H18: what each end of a request proves.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::dns::{Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Proxy};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use sentinel_client::Run;
use sentinel_http::{BoxError, Certainty, Problem, Ran, SendError, SentinelHeaders, WithRun as _, certainty};

use tower_layer::layer_fn;
use tower_service::Service;

use crate::harness::{Script, SendResult, Server, answer, client, client_of, running};

async fn send(http: &ClientWithMiddleware, url: &str, run: &Run, label: &str) -> SendResult {
    http.post(url).with_run(run, label).body("{}").send().await
}

async fn judged(http: &ClientWithMiddleware, url: &str, run: &Run, label: &str) -> Certainty {
    certainty(&send(http, url, run, label).await)
}

#[tokio::test]
async fn a_refused_connection_proves_that_nothing_happened() {
    let running = running("a").await;
    let url = Server::answering(Vec::new()).await.stop().await;
    let answer = send(&client(SentinelHeaders::new()), &url, &running.run, "book").await;
    assert_eq!(certainty(&answer), Certainty::NothingHappened);
    let error = answer.unwrap_err();
    let error = SendError::of(&error).unwrap();
    assert!(
        error.error().unwrap().is_connect() && error.to_string().starts_with("the request was not sent: ")
    );
}

struct NoNames;

impl Resolve for NoNames {
    fn resolve(&self, _: Name) -> Resolving {
        Box::pin(async { Err("no such name".into()) })
    }
}

#[tokio::test]
async fn a_name_that_is_not_resolved_proves_that_nothing_happened() {
    let running = running("a").await;
    let builder = Client::builder().redirect(Policy::none()).dns_resolver(Arc::new(NoNames));
    let http = client_of(builder, SentinelHeaders::new());
    let judged = judged(&http, "http://ledger.internal/", &running.run, "book").await;
    assert_eq!(judged, Certainty::NothingHappened);
}

/// Fails once the connection is there, as TLS does when its handshake fails.
#[derive(Clone)]
struct Handshake<S>(S);

impl<S, R> Service<R> for Handshake<S>
where
    S: Service<R, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, to: R) -> Self::Future {
        let connection = self.0.call(to);
        Box::pin(async move {
            connection.await?;
            Err("the handshake failed".into())
        })
    }
}

#[tokio::test]
async fn a_handshake_that_fails_proves_that_nothing_happened() {
    let running = running("a").await;
    // What is sent before the handshake has ended is no byte of the request.
    let server = Server::answering(answer(200, "", "")).await;
    let builder = Client::builder().redirect(Policy::none()).connector_layer(layer_fn(Handshake));
    let http = client_of(builder, SentinelHeaders::new());
    let answer = send(&http, &server.url(), &running.run, "book").await;
    assert_eq!(certainty(&answer), Certainty::NothingHappened, "{answer:?}");
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn a_connection_that_ends_before_a_whole_answer_proves_nothing() {
    let running = running("a").await;
    let http = client(SentinelHeaders::new());
    for (n, script) in [
        Script::Close,
        Script::Answer(Vec::new()),
        Script::Answer(b"H".to_vec()),
        Script::Answer(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()),
        Script::Answer(b"nonsense\r\n\r\n".to_vec()),
    ]
    .into_iter()
    .enumerate()
    {
        let server = Server::start([script.clone()]).await;
        let answer = send(&http, &server.url(), &running.run, &n.to_string()).await;
        assert_eq!(certainty(&answer), Certainty::Unknown, "{script:?} {answer:?}");
        assert!(answer.is_err(), "{script:?}");
    }
}

#[tokio::test]
async fn a_timeout_proves_nothing_and_neither_does_a_refusal_after_it() {
    let running = running("a").await;
    let brief = Client::builder().redirect(Policy::none()).timeout(Duration::from_millis(200));
    let http = client_of(brief, SentinelHeaders::new());
    let server = Server::start([Script::Hang(Vec::new())]).await;
    let answer = send(&http, &server.url(), &running.run, "book").await;
    assert!(matches!(&answer, Err(error) if error.is_timeout()), "{answer:?}");
    assert_eq!(certainty(&answer), Certainty::Unknown);
    let url = server.stop().await;
    // Not sent, but the first copy may still take effect. Another client of the same run knows of it, too.
    let answer = send(&client(SentinelHeaders::new()), &url, &running.run, "book").await;
    assert!(matches!(&answer, Err(error) if error.is_connect()), "{answer:?}");
    assert_eq!(certainty(&answer), Certainty::Unknown);
    let judged = judged(&client(SentinelHeaders::new()), &url, &running.run, "pay").await;
    assert_eq!(judged, Certainty::NothingHappened);
}

#[tokio::test]
async fn a_try_whose_caller_has_gone_may_take_effect() {
    let running = running("a").await;
    let http = client(SentinelHeaders::new());
    let server = Server::start([Script::Hang(Vec::new())]).await;
    let (url, run) = (server.url(), running.run.clone());
    let task = tokio::spawn({
        let (http, url, run) = (http.clone(), url.clone(), run.clone());
        async move { judged(&http, &url, &run, "book").await }
    });
    while server.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    server.stop().await;
    assert_eq!(judged(&http, &url, &run, "book").await, Certainty::Unknown);
}

#[tokio::test]
async fn each_class_of_status() {
    let running = running("a").await;
    let http = client(SentinelHeaders::new());
    for (status, expected) in [
        (200, Certainty::Happened),
        (201, Certainty::Happened),
        (204, Certainty::Happened),
        (302, Certainty::Unknown),
        (304, Certainty::Unknown),
        (400, Certainty::Refused),
        (402, Certainty::Refused),
        (407, Certainty::Unknown),
        (408, Certainty::Unknown),
        (409, Certainty::Unknown),
        (421, Certainty::Unknown),
        (422, Certainty::Refused),
        (425, Certainty::Unknown),
        (429, Certainty::Unknown),
        (499, Certainty::Unknown),
        (500, Certainty::Unknown),
        (503, Certainty::Unknown),
    ] {
        let server = Server::answering(answer(status, "", "")).await;
        let label = status.to_string();
        assert_eq!(judged(&http, &server.url(), &running.run, &label).await, expected, "{status}");
    }
}

/// The answer with a problem's document.
fn document(problem: Problem) -> Vec<u8> {
    let ran = match problem.ran() {
        Ran::No => "no",
        Ran::Yes => "yes",
        Ran::Unknown => "unknown",
    };
    let body =
        format!(r#"{{"type":"{}","status":{},"ran":"{ran}"}}"#, problem.kind(), problem.status().as_u16());
    answer(problem.status().as_u16(), "content-type: application/problem+json; charset=utf-8\r\n", &body)
}

#[tokio::test]
async fn each_problem_document_of_a_listed_host_and_of_another() {
    let running = running("a").await;
    for problem in Problem::ALL {
        let server = Server::answering(document(problem)).await;
        let listed = client(SentinelHeaders::new().to([server.address.to_string()]));
        let answer = send(&listed, &server.url(), &running.run, &format!("listed {}", problem.name())).await;
        let expected = match problem.ran() {
            Ran::No => Certainty::NothingHappened,
            Ran::Yes => Certainty::Happened,
            Ran::Unknown => Certainty::Unknown,
        };
        assert_eq!(certainty(&answer), expected, "{problem:?}");
        // The caller gets the document as it was sent.
        let response = answer.unwrap();
        assert_eq!((response.status(), response.url().as_str()), (problem.status(), server.url().as_str()));
        assert!(document(problem).ends_with(&response.bytes().await.unwrap()));

        let answer = send(&client(SentinelHeaders::new()), &server.url(), &running.run, problem.name()).await;
        let is_refusal = problem.ran() == Ran::No && problem.status() != 408;
        let expected = if is_refusal { Certainty::Refused } else { Certainty::Unknown };
        assert_eq!(certainty(&answer), expected, "{problem:?} of another host");
    }
}

#[tokio::test]
async fn a_document_that_cannot_be_read_proves_nothing_and_is_passed_on() {
    let running = running("a").await;
    let kind = "content-type: application/problem+json\r\n";
    let huge = format!(r#"{{"ran":"no","detail":"{}"}}"#, "x".repeat(200_000));
    let server = Server::answering(answer(400, kind, &huge)).await;
    let listed = client(SentinelHeaders::new().to([server.address.to_string()]));
    let huge_answer = send(&listed, &server.url(), &running.run, "huge").await;
    assert_eq!(certainty(&huge_answer), Certainty::Unknown);
    assert_eq!(huge_answer.unwrap().text().await.unwrap(), huge);

    let broken = format!("HTTP/1.1 400 x\r\ncontent-length: 99\r\n{kind}\r\n{{\"ran\":\"no\"}}");
    let server = Server::answering(broken).await;
    let listed = client(SentinelHeaders::new().to([server.address.to_string()]));
    let broken_answer = send(&listed, &server.url(), &running.run, "broken").await;
    assert_eq!(certainty(&broken_answer), Certainty::Unknown);
    assert!(broken_answer.unwrap().text().await.is_err());
}

#[tokio::test]
async fn a_refusal_after_an_unknown_effect_counts_only_where_the_provider_honours_keys() {
    for (honours, expected) in [(false, Certainty::Unknown), (true, Certainty::Refused)] {
        let running = running("a").await;
        let headers = SentinelHeaders::new();
        let headers = if honours { headers.provider_honours_keys() } else { headers };
        let http = client(headers);
        let server =
            Server::start([500, 422, 422, 200].map(|status| Script::Answer(answer(status, "", "")))).await;
        let (url, run) = (server.url(), &running.run);
        assert_eq!(judged(&http, &url, run, "book").await, Certainty::Unknown);
        assert_eq!(judged(&http, &url, run, "book").await, expected);
        assert_eq!(judged(&http, &url, run, "book").await, expected);
        assert_eq!(judged(&http, &url, run, "book").await, Certainty::Happened);
        // What has happened is not undone by a copy that is not sent.
        server.stop().await;
        let answer = send(&http, &url, run, "book").await;
        assert_eq!(certainty(&answer), Certainty::Happened);
        assert!(answer.is_err());
    }
}

/// A proxy is not the service. What it answers proves nothing, and a connection that it does not make, everything.
#[tokio::test]
async fn what_a_proxy_answers_proves_nothing() {
    let running = running("a").await;
    let through = |proxy: String| {
        let client = Client::builder().redirect(Policy::none()).proxy(Proxy::all(proxy).unwrap());
        ClientBuilder::new(client.build().unwrap()).with(SentinelHeaders::new()).build()
    };
    let url = "http://ledger.internal/";
    let closed = Server::answering(Vec::new()).await.stop().await;
    assert_eq!(judged(&through(closed), url, &running.run, "closed").await, Certainty::NothingHappened);
    for (status, fields) in [(407, ""), (502, ""), (403, "proxy-status: p; error=http_request_denied\r\n")] {
        let proxy = Server::answering(answer(status, fields, "")).await;
        let judged = judged(&through(proxy.url()), url, &running.run, &status.to_string()).await;
        assert_eq!(judged, Certainty::Unknown, "{status}");
        assert_eq!(proxy.requests().len(), 1);
    }
}

#[tokio::test]
async fn without_the_middleware_only_success_proves_something() {
    let running = running("a").await;
    let http = ClientBuilder::new(Client::builder().no_proxy().build().unwrap()).build();
    for (status, expected) in [(200, Certainty::Happened), (400, Certainty::Unknown)] {
        let server = Server::answering(answer(status, "", "")).await;
        assert_eq!(judged(&http, &server.url(), &running.run, "book").await, expected);
    }
    let url = Server::answering(Vec::new()).await.stop().await;
    assert_eq!(judged(&http, &url, &running.run, "book").await, Certainty::Unknown);
}
