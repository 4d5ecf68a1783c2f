//! A handler behind the layer, on any store, as a router of axum and as a plain service of tower.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use axum::Router;
use axum::extract::Request as AxumRequest;
use axum::routing::{MethodFilter, get, on};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use sentinel::store::Store;
use sentinel::{Deployment, Sentinel};
use sentinel_http::{Body, IdempotencyLayer, Scope};
use tempfile::TempDir;
use tower::util::BoxCloneSyncService;
use tower::{Layer as _, ServiceExt as _, service_fn};

/// The stores on which each check runs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum StoreKind {
    Memory,
    Sqlite,
    Postgres,
    Redis,
}

/// Runs each check on each store, with a router of axum and with a plain service of tower.
macro_rules! on_every_store {
    ($($check:ident)*) => {
        on_every_store!(@ memory Memory: $($check)*);
        on_every_store!(@ sqlite Sqlite: $($check)*);
        on_every_store!(@ postgres Postgres: $($check)*);
        on_every_store!(@ redis Redis: $($check)*);
    };
    (@ $module:ident $place:ident: $($check:ident)*) => {
        mod $module {
            use crate::harness::{Bed, Front, StoreKind};

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    for front in [Front::Axum, Front::Tower] {
                        super::$check(Bed::new(StoreKind::$place, front).await).await;
                    }
                }
            )*
        }
    };
}
pub(crate) use on_every_store;

/// What is in front of the handler besides the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    Axum,
    Tower,
}

/// A store with a namespace of its own.
pub(crate) struct Bed {
    pub(crate) front: Front,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sentinel: Sentinel,
    _folder: Option<TempDir>,
}

impl Bed {
    pub(crate) async fn new(place: StoreKind, front: Front) -> Self {
        let (url, folder) = match place {
            StoreKind::Memory => ("memory:".to_owned(), None),
            StoreKind::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                (format!("sqlite:{}", folder.path().join("s.db").display()), Some(folder))
            }
            StoreKind::Postgres => (sentinel_testbed::postgres().url(), None),
            StoreKind::Redis => (sentinel_testbed::redis().url(), None),
        };
        let (store, _) = Deployment::parse(&url).unwrap().init().await.unwrap();
        Self::on(store, front, folder)
    }

    fn on(store: Arc<dyn Store>, front: Front, folder: Option<TempDir>) -> Self {
        static NAMESPACES: AtomicU64 = AtomicU64::new(0);
        let namespace = format!("http-{}-{}", std::process::id(), NAMESPACES.fetch_add(1, Ordering::Relaxed));
        let sentinel = Sentinel::from_arc(store.clone()).namespace(namespace).unwrap();
        Self { front, store, sentinel, _folder: folder }
    }

    /// A client of another process: it shares the store and nothing else.
    pub(crate) fn other_client(&self) -> Sentinel {
        let namespace = self.sentinel.current_namespace().as_str().to_owned();
        Sentinel::from_arc(self.store.clone()).namespace(namespace).unwrap()
    }

    /// The layer: the field `x-tenant` names the owner.
    pub(crate) fn layer(&self) -> IdempotencyLayer {
        layer(self.sentinel.clone())
    }

    /// The handler behind the layer.
    pub(crate) fn app(&self, layer: IdempotencyLayer, handler: &Handler) -> App {
        App::new(self.front, layer, handler.clone())
    }
}

pub(crate) fn layer(sentinel: Sentinel) -> IdempotencyLayer {
    IdempotencyLayer::new(sentinel, |parts| parts.headers.get("x-tenant").map(Scope::new))
}

type Responding = BoxFuture<'static, Response<Body>>;

/// A handler, which counts its calls.
#[derive(Clone)]
pub(crate) struct Handler {
    function: Arc<dyn Fn(Request<Bytes>, u32) -> Responding + Send + Sync>,
    calls: Arc<AtomicU32>,
}

impl Handler {
    /// The function gets the request and the number of the call, from 1.
    pub(crate) fn new<F>(answer: impl Fn(Request<Bytes>, u32) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let function = Arc::new(move |request, call| -> Responding { Box::pin(answer(request, call)) });
        Self { function, calls: Arc::default() }
    }

    /// Answers each call with 201, its number and the request's body.
    pub(crate) fn counting() -> Self {
        Self::new(async |request: Request<Bytes>, call| {
            let mut response = text(201, format!("call {call}: {}", String::from_utf8_lossy(request.body())));
            response.headers_mut().insert("location", format!("/charges/{call}").parse().unwrap());
            response
        })
    }

    /// Waits at a gate, and answers each call with 201 and its number.
    pub(crate) fn gated() -> (Self, Gate) {
        let gate = Gate::closed();
        let pass = gate.clone();
        let handler = Self::new(move |_, call| {
            let pass = pass.clone();
            async move {
                pass.pass().await;
                text(201, format!("call {call}"))
            }
        });
        (handler, gate)
    }

    pub(crate) fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) async fn answer<B>(self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<sentinel_http::BoxError>,
    {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let (parts, body) = request.into_parts();
        let bytes = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return text(400, "no body"),
        };
        (self.function)(Request::from_parts(parts, bytes), call).await
    }
}

pub(crate) fn text(status: u16, body: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    response
}

/// A service that tests call in their own process, or over a socket.
#[derive(Clone)]
pub(crate) struct App(BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>);

impl App {
    pub(crate) fn new(front: Front, layer: IdempotencyLayer, handler: Handler) -> Self {
        match front {
            Front::Axum => Self::axum(layer, handler),
            Front::Tower => Self::tower(layer, handler),
        }
    }

    fn axum(layer: IdempotencyLayer, handler: Handler) -> Self {
        let status = layer.status();
        let handle = move |request: AxumRequest| async move {
            handler.answer(request).await.map(axum::body::Body::new)
        };
        let methods =
            MethodFilter::POST.or(MethodFilter::PATCH).or(MethodFilter::GET).or(MethodFilter::OPTIONS);
        let charges = on(methods, handle).layer(layer);
        let inner = Router::new().route("/charges", charges.clone()).route("/notes", charges);
        let router =
            Router::new().nest("/nested", inner.clone()).merge(inner).route("/requests", get(status));
        Self::of(router.into_service::<Body>().map_response(|response| response.map(Body::new)))
    }

    fn tower(layer: IdempotencyLayer, handler: Handler) -> Self {
        let status = layer.status();
        let inner = service_fn(move |request: Request<Body>| {
            let handler = handler.clone();
            async move { Ok::<_, Infallible>(handler.answer(request).await) }
        });
        let charges = layer.layer(inner);
        Self::of(service_fn(move |request: Request<Body>| {
            let (status, charges) = (status.clone(), charges.clone());
            async move {
                match request.uri().path() {
                    "/requests" => status.oneshot(request).await,
                    _ => charges.oneshot(request).await,
                }
            }
        }))
    }

    /// Any service as an app.
    pub(crate) fn of<S>(service: S) -> Self
    where
        S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        Self(BoxCloneSyncService::new(service))
    }

    /// The answer with its whole body.
    pub(crate) async fn call(&self, request: Request<Body>) -> Got {
        Got::of(self.0.clone().oneshot(request).await.unwrap()).await
    }

    /// The answer before its body is read.
    pub(crate) async fn head(&self, request: Request<Body>) -> Response<Body> {
        self.0.clone().oneshot(request).await.unwrap()
    }

    /// A POST with this key and body, of the tenant `acme`.
    pub(crate) async fn post(&self, key: &str, body: &str) -> Got {
        self.call(post(key, body)).await
    }

    /// What the status route answers about a key of the tenant `acme`.
    pub(crate) async fn status(&self, key: &str) -> Got {
        let uri = format!("/requests?key={key}");
        self.call(request(Method::GET, &uri, &[("x-tenant", "acme")], "")).await
    }

    /// Serves the app on a loopback port until the test ends.
    pub(crate) async fn serve(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = self.0.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let app = app.clone();
                let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                    app.clone().oneshot(request.map(Body::new))
                });
                tokio::spawn(async move {
                    let io = hyper_util::rt::TokioIo::new(stream);
                    let builder =
                        hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
                    // A connection that fails is the test's own doing.
                    let _ = builder.serve_connection(io, service).await;
                });
            }
        });
        address
    }
}

pub(crate) fn request(method: Method, uri: &str, fields: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

pub(crate) fn post(key: &str, body: &str) -> Request<Body> {
    post_of("acme", key, body)
}

pub(crate) fn post_of(tenant: &str, key: &str, body: &str) -> Request<Body> {
    request(Method::POST, "/charges", &[("x-tenant", tenant), ("idempotency-key", key)], body)
}

/// An answer with its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    pub(crate) async fn of(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn is_replay(&self) -> bool {
        self.header("idempotency-replayed") == Some("true")
    }

    /// The problem document: its name and what it states about the effect.
    pub(crate) fn problem(&self) -> Problem {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        let document: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(document["status"], self.status, "{document}");
        let text = |member: &str| document[member].as_str().unwrap_or_default().to_owned();
        let name = text("type").rsplit('#').next().unwrap().to_owned();
        Problem { name, ran: text("ran"), document }
    }

    /// Checks status and name of the problem document.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, name: &str) {
        assert_eq!((self.status, self.problem().name.as_str()), (status, name), "{self:?}");
    }
}

/// A problem document.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) name: String,
    pub(crate) ran: String,
    pub(crate) document: serde_json::Value,
}

/// Waits until a condition holds; panics after a minute.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    for _ in 0..6_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("not within a minute: {what}");
}

/// A gate at which handlers wait until the test opens it.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<tokio::sync::Semaphore>);

impl Gate {
    pub(crate) fn closed() -> Self {
        Self(Arc::new(tokio::sync::Semaphore::new(0)))
    }

    pub(crate) async fn pass(&self) {
        drop(self.0.acquire().await.unwrap());
    }

    /// Lets all pass, from now on.
    pub(crate) fn open(&self) {
        self.0.add_permits(1);
    }
}
