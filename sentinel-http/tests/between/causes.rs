//! Causes: sent to listed hosts, and recorded only where their sender is trusted.

use http::{HeaderName, Request};
use sentinel_client::Run;
use sentinel_client::sentinel_core::{Cause, Kind, Root, TraceId};
use sentinel_http::{
    Body, FenceKey, FenceSigner, FenceVerifier, IdempotencyLayer, SENTINEL_CAUSE, SENTINEL_FENCE,
    SentinelHeaders, TrustedCause, WebhookReceiver, WebhookSecret, WebhookSource, WithRun as _, cause_fields,
};
use tower::{Layer as _, Service, ServiceExt as _};

use crate::harness::{Server, answer, client, field, running_for};
use crate::stores::{Bed, Front, Handler, StoreKind};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn cause() -> Cause {
    Cause::new(Root::new("order 42").unwrap()).with_trace(TRACE.parse::<TraceId>().unwrap())
}

fn key() -> FenceKey {
    FenceKey::new("k", "a secret of at least thirty-two bytes").unwrap()
}

/// B3.
#[tokio::test]
async fn a_cause_goes_to_listed_hosts_only() {
    let bed = Bed::new(StoreKind::Memory, Front::Tower).await;
    let running = running_for(&bed.sentinel, "order-42", Some(cause())).await;
    let server = Server::answering(answer(200, "", "")).await;
    for headers in
        [SentinelHeaders::new().to([server.address.to_string()]), SentinelHeaders::new().to(["other"])]
    {
        let request = client(headers).post(server.url()).with_run(&running.run, "book");
        request.header("sentinel-cause", "root=\"forged\", hop=0").send().await.unwrap();
    }
    let requests = server.requests();
    let sent = field(&requests[0], "sentinel-cause").unwrap();
    let trace = field(&requests[0], "traceparent").unwrap();
    let trace_id = TraceId::from_traceparent(&trace).unwrap();
    assert_eq!(Cause::from_header(&sent, Some(trace_id)), Ok(running.run.child_cause().unwrap().unwrap()));
    assert_eq!(trace_id.to_string(), TRACE);
    assert!(field(&requests[1], "sentinel-cause").is_none() && field(&requests[1], "traceparent").is_none());
}

/// A request of a run, as its service sends it.
fn request(run: &Run) -> Request<Body> {
    let mut request = Request::post("/hooks").header("idempotency-key", "k").body(Body::empty()).unwrap();
    request.headers_mut().extend(cause_fields(run));
    request
}

/// The root and the hop that the record of a key has.
async fn recorded(bed: &Bed, key: &str) -> Option<(String, u8)> {
    let record = bed.sentinel.inspect(Kind::Execution, key).await.unwrap().record.unwrap();
    record.cause.map(|cause| (cause.root().as_str().to_owned(), cause.hop()))
}

/// B2: a cause of the public is ignored, one beside a fence is taken, and one of another run than the fence's is not.
#[tokio::test]
async fn a_cause_is_recorded_only_where_its_sender_is_trusted() {
    let bed = Bed::new(StoreKind::Memory, Front::Tower).await;
    let running = running_for(&bed.sentinel, "order-42", Some(cause())).await;
    let other = running_for(&bed.sentinel, "order-43", Some(cause())).await;
    let taken = Some(("order 42".to_owned(), 1));
    let layer = |tenant: &'static str| {
        IdempotencyLayer::new(bed.sentinel.clone(), move |_| Some(sentinel_http::Scope::new(tenant)))
    };
    let send =
        async |service: &mut dyn FnMut(Request<Body>) -> futures_util::future::BoxFuture<'static, u16>,
               request| {
            assert_eq!(service(request).await, 200);
        };
    let mut public = serve(layer("public").layer(Handler::counting()));
    send(&mut public, request(&running.run)).await;
    assert_eq!(recorded(&bed, "public/k").await, None);
    let mut trusting = serve(layer("trusting").trust_causes().layer(Handler::counting()));
    send(&mut trusting, request(&running.run)).await;
    assert_eq!(recorded(&bed, "trusting/k").await, taken);
    let mut stated = request(&running.run);
    let by_the_service = TrustedCause::of(stated.headers()).unwrap();
    stated.extensions_mut().insert(by_the_service);
    let mut peers = serve(layer("peers").layer(Handler::counting()));
    send(&mut peers, stated).await;
    assert_eq!(recorded(&bed, "peers/k").await, taken);
    for (tenant, run, expected) in [("fenced", &running.run, taken.clone()), ("mixed", &other.run, None)] {
        let fences = FenceVerifier::new("ledger", [key()]).required();
        let mut fenced = serve(fences.layer(layer(tenant).layer(Handler::counting())));
        let mut request = request(&running.run);
        request.headers_mut().insert(SENTINEL_FENCE, FenceSigner::new(key()).sign(run, "ledger"));
        send(&mut fenced, request).await;
        assert_eq!(recorded(&bed, &format!("{tenant}/k")).await, expected, "{tenant}");
    }
}

/// A service that answers with a status.
fn serve<S>(service: S) -> impl FnMut(Request<Body>) -> futures_util::future::BoxFuture<'static, u16>
where
    S: Service<Request<Body>, Response = http::Response<Body>, Error = std::convert::Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    move |request| {
        let service = service.clone();
        Box::pin(async move { service.oneshot(request).await.unwrap().status().as_u16() })
    }
}

#[tokio::test]
async fn a_cause_in_a_signed_webhook_is_recorded() {
    let bed = Bed::new(StoreKind::Memory, Front::Tower).await;
    let running = running_for(&bed.sentinel, "order-42", Some(cause())).await;
    let secret = WebhookSecret::from_bytes([7; 24]).unwrap();
    let source = WebhookSource::new("shop").secret(secret.clone());
    let clock = sentinel_client::sentinel_core::ManualClock::new(Default::default());
    let receiver =
        WebhookReceiver::new(bed.sentinel.clone(), [source]).unwrap().clock(std::sync::Arc::new(clock));
    let mut request = request(&running.run);
    let fields = [
        ("webhook-id", "msg_1".to_owned()),
        ("webhook-timestamp", "0".to_owned()),
        ("webhook-signature", secret.sign("msg_1", 0, b"")),
    ];
    for (name, value) in fields {
        request.headers_mut().insert(HeaderName::from_static(name), value.parse().unwrap());
    }
    assert_eq!(serve(receiver.layer(Handler::counting()))(request).await, 200);
    assert_eq!(recorded(&bed, "shop/msg_1").await, Some(("order 42".to_owned(), 1)));
}

/// B2: the 33rd hop is refused, and so is a field that is there twice.
#[test]
fn a_cause_that_is_not_valid_is_ignored() {
    let of = |fields: &[&str]| {
        let mut headers = http::HeaderMap::new();
        for field in fields {
            headers.append(SENTINEL_CAUSE, field.parse().unwrap());
        }
        TrustedCause::of(&headers)
    };
    let hop = |hop: u8| format!("root=\"order-42\", by=\"orders/execution/a\", t=\"7\", hop={hop}");
    assert!(of(&[&hop(32)]).is_some() && of(&[&hop(33)]).is_none());
    assert!(of(&[]).is_none() && of(&[&hop(1), &hop(1)]).is_none() && of(&["nonsense"]).is_none());
}
