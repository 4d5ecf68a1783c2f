//! Requests through the idempotency layer.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use sentinel_client::Sentinel;
use sentinel_core::{CoordinationStore as _, Kind};
use sentinel_http::{Body, IDEMPOTENCY_REPLAYED, IdempotencyLayer, IdempotencyService};
use tower::{Layer as _, ServiceExt as _, service_fn, util::BoxCloneSyncService};

use super::common::{KEYS, address, fresh_op, in_pages, receipt};
use crate::context::{BenchContext, client, salt};
use crate::measure::{Trial, op};
use crate::report::{Goal, Report};
use crate::target::Target;

const CELLS: &[(Target, &[usize])] = &[
    (Target::Memory, &[1]),
    (Target::Sqlite, &[64]),
    (Target::Postgres, &[1, 32, 128]),
    (Target::RedisAlways, &[32, 128]),
];

type Route = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// The route without the layer.
fn route() -> Route {
    BoxCloneSyncService::new(service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(Response::new(Body::from(Bytes::from(receipt()))))
    }))
}

fn layered(sentinel: Sentinel) -> IdempotencyService<Route> {
    IdempotencyLayer::single_tenant(sentinel).layer(route())
}

fn post(key: &str) -> Request<Body> {
    let body = Body::from(Bytes::from_static(b"{\"cents\":4200}"));
    Request::post("/charges").header("idempotency-key", key).body(body).unwrap()
}

async fn answered(service: IdempotencyService<Route>, key: String, is_replay: bool) {
    let answer = service.oneshot(post(&key)).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers().contains_key(IDEMPOTENCY_REPLAYED)),
        (200, is_replay)
    );
}

fn key(salt: u64, n: u64) -> String {
    format!("http-{salt}-{}", n.wrapping_mul(7919) % KEYS)
}

pub(crate) fn run(context: &BenchContext, report: &mut Report) {
    for (target, callers) in context.plan.cells(CELLS) {
        let sentinel = client(context.store(target));
        let (service, salt) = (layered(sentinel.clone()), salt());
        let fresh = op(move |n| answered(service.clone(), format!("fresh-{salt}-{n}"), false));
        let trial = Trial::new(context, "http, fresh", target, callers).ours(fresh);
        let bare = fresh_op(sentinel.clone(), salt.wrapping_add(1));
        let trial = trial.baseline_op("bare once", bare);
        report.cell(trial.goal(Some(Goal::RatioAtLeast(0.7))).measure());

        let service = layered(sentinel.clone());
        in_pages(context, KEYS, |n| answered(service.clone(), key(salt, n), false));
        let replay = op(move |n| answered(service.clone(), key(salt, n), true));
        let trial = Trial::new(context, "http, replay", target, callers).ours(replay);
        let (store, route) = (Arc::clone(sentinel.store()), route());
        let bare = op(move |n| {
            let (store, route) = (Arc::clone(&store), route.clone());
            async move {
                let read =
                    store.inspect(&address(Kind::Execution, format!("-/{}", key(salt, n)))).await.unwrap();
                assert!(read.record.is_some());
                route.oneshot(post(&key(salt, n))).await.unwrap();
            }
        });
        let trial = trial.baseline_op("the route and one read", bare);
        // At most 1.3 times the cost.
        report.cell(trial.goal(Some(Goal::RatioAtLeast(0.77))).measure());
    }
}
