//! The stores, and what is in front of a service.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::extract::Request as AxumRequest;
use axum::routing::Route;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use sentinel::Deployment;
use sentinel_client::Sentinel;
use sentinel_client::sentinel_core::kernel::{Op, Reply};
use sentinel_client::sentinel_core::operation::Stamped;
use sentinel_client::sentinel_core::store::Inspection;
use sentinel_client::sentinel_core::{Address, CoordinationStore, Layer, Layered, StoreError};
use sentinel_http::Body;
use tempfile::TempDir;
use tower::util::BoxCloneSyncService;
use tower::{Layer as TowerLayer, Service, ServiceExt as _};

#[derive(Debug, Clone, Copy)]
pub(crate) enum StoreKind {
    Memory,
    Sqlite,
    Postgres,
    Redis,
}

/// What is in front of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    Axum,
    Tower,
}

/// A client of a store, in a namespace of its own. What the client asks the store is counted.
pub(crate) struct Bed {
    pub(crate) sentinel: Sentinel,
    pub(crate) front: Front,
    requests: Arc<AtomicU64>,
    _folder: Option<TempDir>,
}

impl Bed {
    pub(crate) async fn new(kind: StoreKind, front: Front) -> Self {
        static NAMESPACES: AtomicU64 = AtomicU64::new(0);
        let (url, folder) = match kind {
            StoreKind::Memory => ("memory:".to_owned(), None),
            StoreKind::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                (format!("sqlite:{}", folder.path().join("s.db").display()), Some(folder))
            }
            StoreKind::Postgres => (sentinel_testbed::postgres().url(), None),
            StoreKind::Redis => (sentinel_testbed::redis().url(), None),
        };
        let (store, _) = Deployment::parse(&url).unwrap().init().await.unwrap();
        let requests = Arc::new(AtomicU64::new(0));
        let counting = Layered(Counting { inner: store, requests: requests.clone() });
        let namespace = format!("b-{}-{}", std::process::id(), NAMESPACES.fetch_add(1, Ordering::Relaxed));
        let sentinel = Sentinel::new(counting).namespace(namespace).unwrap();
        Self { sentinel, front, requests, _folder: folder }
    }

    /// How many requests the store has got.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// A layer around a service.
    pub(crate) fn app<L>(&self, layer: L, handler: Handler) -> App
    where
        L: TowerLayer<Handler> + TowerLayer<Route> + Clone + Send + Sync + 'static,
        <L as TowerLayer<Handler>>::Service: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        <<L as TowerLayer<Handler>>::Service as Service<Request<Body>>>::Future: Send,
        <L as TowerLayer<Route>>::Service: Service<AxumRequest, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        <<L as TowerLayer<Route>>::Service as Service<AxumRequest>>::Future: Send,
    {
        match self.front {
            Front::Tower => App(BoxCloneSyncService::new(TowerLayer::<Handler>::layer(&layer, handler))),
            Front::Axum => {
                let router = Router::new().route_service("/hooks", handler).layer(layer);
                let router = router.map_request(|request: Request<Body>| request.map(axum::body::Body::new));
                App(BoxCloneSyncService::new(router.map_response(|response| response.map(Body::new))))
            }
        }
    }
}

/// Runs each check on each store, with a router of axum and with a plain service of tower.
macro_rules! on_every_store {
    ($($check:ident)*) => {
        on_every_store!(@ memory Memory: $($check)*);
        on_every_store!(@ sqlite Sqlite: $($check)*);
        on_every_store!(@ postgres Postgres: $($check)*);
        on_every_store!(@ redis Redis: $($check)*);
    };
    (@ $module:ident $kind:ident: $($check:ident)*) => {
        mod $module {
            use crate::stores::{Bed, Front, StoreKind};

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    for front in [Front::Axum, Front::Tower] {
                        super::$check(Bed::new(StoreKind::$kind, front).await).await;
                    }
                }
            )*
        }
    };
}
pub(crate) use on_every_store;

/// Counts the requests for records.
#[derive(Debug)]
struct Counting {
    inner: Arc<dyn CoordinationStore>,
    requests: Arc<AtomicU64>,
}

#[async_trait]
impl Layer for Counting {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.inner
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        op.send(&*self.inner, address).await
    }

    async fn on_inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        self.inner.inspect(address).await
    }
}

type Respond = Arc<dyn Fn(u32, &Request<Body>) -> Response<Body> + Send + Sync>;

/// A service that counts its calls, and keeps what it was sent.
#[derive(Clone)]
pub(crate) struct Handler {
    answer: Respond,
    bodies: Arc<Mutex<Vec<Bytes>>>,
}

impl Handler {
    /// The function gets the number of the call, from 1, and the request.
    pub(crate) fn new(
        answer: impl Fn(u32, &Request<Body>) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        Self { answer: Arc::new(answer), bodies: Arc::default() }
    }

    /// Answers each call with its number.
    pub(crate) fn counting() -> Self {
        Self::new(|call, _| response(200, format!("call {call}")))
    }

    pub(crate) fn calls(&self) -> usize {
        self.bodies.lock().unwrap().len()
    }
}

impl<B> Service<Request<B>> for Handler
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<sentinel_http::BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = futures_util::future::BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (parts, body) = request.map(Body::new).into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            let call = {
                let mut bodies = this.bodies.lock().unwrap();
                bodies.push(bytes.clone());
                bodies.len()
            };
            Ok((this.answer)(u32::try_from(call).unwrap(), &Request::from_parts(parts, Body::from(bytes))))
        })
    }
}

pub(crate) fn response(status: u16, body: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// A service behind a layer.
#[derive(Clone)]
pub(crate) struct App(BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>);

/// What an app answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The name of the problem; None: it is no problem document.
    pub(crate) fn problem(&self) -> Option<String> {
        let document: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        let (_, name) = document.get("type")?.as_str()?.split_once('#')?;
        assert_eq!(document["status"], self.status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        Some(name.to_owned())
    }
}

impl App {
    pub(crate) async fn send(&self, request: Request<Body>) -> Got {
        let response = self.0.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Got { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}
