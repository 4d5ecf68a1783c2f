//! What the middleware sends, and to whom.

use http::HeaderMap;
use sentinel_http::{FenceKey, FenceVerifier, SENTINEL_FENCE, SentinelHeaders, WithRun as _};

use crate::harness::{Server, answer, client, field, running};

const SECRET: &str = "a secret of at least thirty-two bytes";

fn key() -> FenceKey {
    FenceKey::new("k", SECRET).unwrap()
}

/// H18.
#[tokio::test]
async fn the_key_is_the_same_for_each_try_and_differs_by_label() {
    let (server, running) = (Server::answering(answer(503, "", "")).await, running("order-42").await);
    let http = client(SentinelHeaders::new());
    for label in ["book", "book", "pay", "a\r\nX-Injected: 1"] {
        http.post(server.url()).with_run(&running.run, label).body("{}").send().await.unwrap();
    }
    let requests = server.requests();
    let keys: Vec<_> = requests.iter().map(|request| field(request, "idempotency-key").unwrap()).collect();
    assert_eq!(keys[0], running.run.idempotency_key_for("book"));
    assert_eq!(keys[0], keys[1]);
    assert!(keys[0] != keys[2] && keys[2] != keys[3]);
    for (request, key) in requests.iter().zip(&keys) {
        assert!(key.starts_with("snl_") && field(request, "x-injected").is_none(), "{request}");
        assert!(request.ends_with("\r\n\r\n{}") && field(request, "content-length").as_deref() == Some("2"));
    }
}

/// H18. A host that is not listed gets the key, and nothing else.
#[tokio::test]
async fn fences_go_to_listed_hosts_only() {
    let (server, running) = (Server::answering(answer(200, "", "")).await, running("Zürich 42").await);
    let to_it = SentinelHeaders::new().sign_with(key()).to_audience(server.address.to_string(), "ledger");
    let other_port = SentinelHeaders::new().sign_with(key()).to(["127.0.0.1:1", "ledger.internal"]);
    for headers in [to_it, other_port, SentinelHeaders::new().to([server.address.to_string()])] {
        let request = client(headers).post(server.url()).with_run(&running.run, "book");
        // What another part of the program has set is not sent.
        request.header("sentinel-fence", "v1;a=\"forged\"").send().await.unwrap();
    }
    let requests = server.requests();
    let fence = field(&requests[0], "sentinel-fence").unwrap();
    let headers = HeaderMap::from_iter([(SENTINEL_FENCE, fence.parse().unwrap())]);
    let verified = FenceVerifier::new("ledger", [key()]).verify(&headers).unwrap();
    assert_eq!((&verified.address, verified.token), (running.run.address(), running.run.token()));
    for request in &requests[1..] {
        assert!(field(request, "sentinel-fence").is_none() && field(request, "idempotency-key").is_some());
    }
}

#[tokio::test]
async fn a_request_without_a_run_passes_unchanged() {
    let server = Server::answering(answer(200, "", "")).await;
    let http = client(SentinelHeaders::new().sign_with(key()).to([server.address.to_string()]));
    http.post(server.url()).header("idempotency-key", "mine").send().await.unwrap();
    let requests = server.requests();
    assert_eq!(field(&requests[0], "idempotency-key").as_deref(), Some("mine"));
    assert_eq!(field(&requests[0], "sentinel-fence"), None);
}

#[test]
fn a_listed_host_that_is_a_url_is_refused_when_the_client_is_built() {
    let listed = std::panic::catch_unwind(|| SentinelHeaders::new().to(["https://ledger.internal"]));
    assert!(listed.is_err());
}
