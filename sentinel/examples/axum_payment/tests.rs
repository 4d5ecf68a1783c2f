//! The endpoint in a unit test: no server, no store besides memory.

use axum::body::Body;
use axum::http::Request;
use metrics_exporter_prometheus::PrometheusBuilder;
use sentinel::reconcile::AutoReconciler;
use tower::ServiceExt as _;

use super::*;

struct Service {
    app: Router,
    sentinel: Sentinel,
    provider: Provider,
    _folder: tempfile::TempDir,
}

impl Service {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let provider = Provider::at(folder.path().join("charges.log"));
        let sentinel = Sentinel::new(MemoryStore::new());
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        Self { app: app(&sentinel, provider.clone(), metrics), sentinel, provider, _folder: folder }
    }

    async fn charge(&self, tenant: &str, key: &str, card: &str) -> (u16, String) {
        let body = serde_json::to_vec(&Order { cents: 4_200, card: card.to_owned() }).unwrap();
        let request = Request::post("/charges")
            .header("authorization", format!("Bearer {tenant}"))
            .header("idempotency-key", key)
            .header("content-type", "application/json");
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    async fn send(&self, request: Request<Body>) -> (u16, String) {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn reconciler(&self) -> AutoReconciler {
        let provider = self.provider.clone();
        self.sentinel.reconcile_with("test", move |key| probe(provider.clone(), key))
    }
}

#[tokio::test]
async fn a_card_is_charged_once_for_each_tenant_and_key() {
    let service = Service::new();
    let first = service.charge("acme", "order-1", "visa").await;
    assert_eq!(first.0, 201);
    assert_eq!(service.charge("acme", "order-1", "visa").await, first);
    assert_ne!(service.charge("other", "order-1", "visa").await, first);
    assert_eq!(service.charge("acme", "order-1", "another card").await.0, 422);
    assert_eq!(service.send(Request::post("/charges").body(Body::empty()).unwrap()).await.0, 401);
}

#[tokio::test]
async fn a_declined_card_is_declined_again_and_an_offline_provider_is_asked_again() {
    let service = Service::new();
    for _ in 0..2 {
        assert_eq!(service.charge("acme", "a", "declined").await, (402, "the card was declined".to_owned()));
        assert_eq!(service.charge("acme", "b", "offline").await.0, 503);
    }
}

#[tokio::test]
async fn a_lost_reply_is_settled_by_asking_the_provider() {
    let service = Service::new();
    assert_eq!(service.charge("acme", "a", "lost").await.0, 502);
    let (status, problem) = service.charge("acme", "a", "lost").await;
    assert!(status == 500 && problem.contains("problems.md#uncertain"), "{problem}");
    assert_eq!(service.reconciler().pass().await.unwrap(), 1);
    let (status, receipt) = service.charge("acme", "a", "lost").await;
    assert!(status == 200 && receipt.contains("4200"), "{receipt}");
}
