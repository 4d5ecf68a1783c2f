//! H19: fences, from the run of one service to the table of another.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use sentinel::postgres::{Fence, Rejection};
use sentinel::{Deployment, PostgresStore, Sentinel};
use sentinel_client::sentinel_core::{Address, Key, ManualClock, Namespace, StoreTime, Token};
use sentinel_client::{DecisionOutcome, Policy, ReconcileOutcome, Run};
use sentinel_http::{Body, FenceKey, FenceSigner, FenceVerifier, SENTINEL_FENCE, VerifiedFence};
use sqlx::{Connection as _, PgConnection};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

use crate::harness::{Running, running_on};
use crate::stores::{App, Bed, Front, Handler, StoreKind, response};

fn key() -> FenceKey {
    FenceKey::new("2026-11", "a secret of at least thirty-two bytes").unwrap()
}

/// What the layer answers to a request with these fences.
async fn post(app: &App, fences: &[HeaderValue]) -> (u16, Option<String>, String) {
    let mut request = Request::post("/hooks").body(Body::empty()).unwrap();
    for fence in fences {
        request.headers_mut().append(SENTINEL_FENCE, fence.clone());
    }
    let got = app.send(request).await;
    let problem = got.problem();
    (got.status, problem, String::from_utf8_lossy(&got.body).into_owned())
}

/// The rows of H19 that differ in the answer. Each flipped bit, other audiences and the rest are in the tests of the
/// field itself.
#[tokio::test]
async fn the_layer_passes_on_requests_with_a_valid_fence_only() {
    for front in [Front::Axum, Front::Tower] {
        let bed = Bed::new(StoreKind::Memory, front).await;
        let handler = Handler::new(|_, request| {
            let fence = request.extensions().get::<VerifiedFence>().unwrap();
            response(200, fence.values().address)
        });
        let clock = Arc::new(ManualClock::new(StoreTime::from_micros(1_795_227_373_000_000)));
        let app =
            bed.app(FenceVerifier::new("ledger", [key()]).clock(clock.clone()).required(), handler.clone());
        let signer = FenceSigner::new(key()).clock(clock.clone());
        let address = Address::execution(Namespace::new("billing").unwrap(), Key::new("Zürich 42").unwrap());
        let sign = |token: u64| {
            signer.sign_for(&address, Token::new(token).unwrap(), "ledger", Duration::from_secs(30))
        };
        assert_eq!(post(&app, &[sign(7)]).await, (200, None, "billing/execution/Zürich 42".into()));
        let problem = |status: u16, name: &str| (status, Some(name.to_owned()));
        let refused = async |fences: &[HeaderValue]| {
            let (status, name, document) = post(&app, fences).await;
            assert!(!document.contains("rich 42") && !document.contains("billing"), "{document}");
            (status, name)
        };
        assert_eq!(refused(&[]).await, problem(401, "fence-missing"));
        assert_eq!(refused(&[sign(7), sign(7)]).await, problem(401, "fence-invalid"));
        assert_eq!(refused(&[HeaderValue::from_static("v2;a=\"x\"")]).await, problem(401, "fence-invalid"));
        assert_eq!(refused(&[sign(6)]).await, problem(412, "stale-fence"));
        clock.advance(Duration::from_secs(151));
        let late = FenceSigner::new(key())
            .clock(Arc::new(ManualClock::new(StoreTime::from_micros(1_795_227_373_000_000))));
        let late = late.sign_for(&address, Token::new(8).unwrap(), "ledger", Duration::from_secs(30));
        assert_eq!(refused(&[late]).await, problem(401, "fence-invalid"));
        assert_eq!(handler.calls(), 1);
    }
}

/// Two processes of a receiver, of which one has not seen the newer run: the header alone would let the paused one
/// write.
#[tokio::test]
async fn a_paused_worker_is_refused_by_the_table_although_its_fence_is_valid() {
    let url = sentinel_testbed::postgres().url();
    Deployment::parse(&url).unwrap().init().await.unwrap();
    let store = PostgresStore::connect(&url).await.unwrap();
    let table = format!("entries_{}", std::process::id());
    let mut db = PgConnection::connect(&url).await.unwrap();
    let create = format!(
        "CREATE TABLE {table} (id bigint PRIMARY KEY, text text, sentinel_token bigint, sentinel_address text)"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut db).await.unwrap();
    store.create_fence(&mut db, &Fence::new(&table, ["id"])).await.unwrap();

    let namespace = format!("fences-{}", std::process::id());
    let sentinel = Sentinel::new(store).namespace(&namespace).unwrap();
    let sentinel = sentinel.policy(Policy::new().late_effects(Duration::ZERO));
    let paused = running_on(&sentinel, "order-42").await;
    let newer = after_a_reset(&sentinel, "order-42").await;
    assert!(newer.run.token() > paused.run.token());

    let write = async |run: &Run, text: &'static str, has_table: bool| {
        // A process of its own: it remembers nothing.
        let ledger = FenceVerifier::new("ledger", [key()]).required();
        let (url, table) = (url.clone(), table.clone());
        let mut service = ledger.layer(service_fn(move |request: Request<Body>| {
            let (url, table) = (url.clone(), table.clone());
            async move { Ok::<_, Infallible>(book(&url, &table, &request, text, has_table).await) }
        }));
        let fence = FenceSigner::new(key()).sign(run, "ledger");
        let request = Request::post("/entries").header(SENTINEL_FENCE, fence).body(Body::empty()).unwrap();
        service.ready().await.unwrap().call(request).await.unwrap().status().as_u16()
    };
    assert_eq!(write(&newer.run, "newer", true).await, 200);
    assert_eq!(write(&paused.run, "paused", true).await, 412);
    let row = format!("SELECT text FROM {table} WHERE id = 1");
    let text: String = sqlx::query_scalar(sqlx::AssertSqlSafe(row.clone())).fetch_one(&mut db).await.unwrap();
    assert_eq!(text, "newer");
    // Without the table nothing stops the paused worker: this process has not seen the newer token.
    assert_eq!(write(&paused.run, "paused", false).await, 200);
}

/// The write of a request, with what its fence states.
async fn book(
    url: &str,
    table: &str,
    request: &Request<Body>,
    text: &str,
    has_table: bool,
) -> Response<Body> {
    if !has_table {
        return response(200, "");
    }
    let verified = request.extensions().get::<VerifiedFence>().unwrap();
    let values = verified.values();
    let mut db = PgConnection::connect(url).await.unwrap();
    let write = format!(
        "INSERT INTO {table} VALUES (1, $1, $2, $3) ON CONFLICT (id) DO UPDATE SET text = excluded.text, \
         sentinel_token = excluded.sentinel_token, sentinel_address = excluded.sentinel_address"
    );
    let write = sqlx::query(sqlx::AssertSqlSafe(write)).bind(text).bind(values.token).bind(values.address);
    match write.execute(&mut db).await {
        Ok(_) => response(200, ""),
        Err(error) if Rejection::of(&error) == Some(Rejection::StaleToken) => verified.stale(),
        Err(error) => panic!("{error}"),
    }
}

/// An operator decides that the key may run again, and it does: with a higher token.
async fn after_a_reset(sentinel: &Sentinel, key: &str) -> Running {
    let taken = sentinel.reconciler(key).operator("ops").even_if_alive().reconcile().await.unwrap();
    let ReconcileOutcome::Taken(held) = taken else { panic!("{taken:?}") };
    let decided = held.accept_overlap().reset_to_claimed().await.unwrap();
    assert!(matches!(decided, DecisionOutcome::Done { .. }), "{decided:?}");
    running_on(sentinel, key).await
}
