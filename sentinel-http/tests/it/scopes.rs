//! H2, H3, H25: whose key it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, Request};
use sentinel_http::{IdempotencyLayer, Limits, Scope};

use crate::counted::counted;
use crate::harness::{
    Bed, Front, Gate, Handler, StoreKind, layer, on_every_store, post, post_of, request, text,
};

on_every_store! {
    two_tenants_with_one_key_have_two_runs
    the_body_of_another_tenant_is_never_seen_by_any_name_that_could_collide
}

pub(crate) async fn two_tenants_with_one_key_have_two_runs(bed: Bed) {
    let handler = Handler::counting();
    let app = bed.app(bed.layer(), &handler);
    let acme = app.call(post_of("acme", "k", "of acme")).await;
    let other = app.call(post_of("other", "k", "of the other")).await;
    assert_eq!((acme.text(), other.text()), ("call 1: of acme", "call 2: of the other"));
    assert!(app.call(post_of("acme", "k", "of acme")).await.text().ends_with("of acme"));
    // The other tenant's body under this tenant's key is another request, and the answer shows nothing of the first.
    let refused = app.call(post_of("acme", "k", "of the other")).await;
    refused.assert_problem(422, "key-reused");
    assert!(!refused.text().contains("of acme"));
    assert_eq!(handler.calls(), 2);
}

pub(crate) async fn the_body_of_another_tenant_is_never_seen_by_any_name_that_could_collide(bed: Bed) {
    let handler = Handler::counting();
    let app = bed.app(bed.layer(), &handler);
    let pairs = [
        ("a", "\"b/c\""),
        ("a/b", "c"),
        ("a%2Fb", "c"),
        ("a,b", "c"),
        ("a%2Cb", "c"),
        ("~", "c"),
        ("~0000000000000000000000000000000000000000000000000000000000000000", "c"),
        ("A", "\"b/c\""),
    ];
    for (n, (tenant, key)) in pairs.iter().enumerate() {
        let got = app.call(post_of(tenant, key, "the same body")).await;
        assert_eq!(got.text(), format!("call {}: the same body", n + 1), "{tenant} {key}");
    }
    for (n, (tenant, key)) in pairs.iter().enumerate() {
        let got = app.call(post_of(tenant, key, "the same body")).await;
        assert!(got.is_replay() && got.text().starts_with(&format!("call {}:", n + 1)), "{tenant} {key}");
    }
}

#[tokio::test]
async fn without_an_owner_nothing_runs_and_no_store_is_asked() {
    for front in [Front::Axum, Front::Tower] {
        let bed = Bed::new(StoreKind::Memory, front).await;
        let (store, requests) = counted(bed.store.clone());
        let handler = Handler::counting();
        let app = bed.app(layer(sentinel::Sentinel::new(store)), &handler);
        let anonymous = request(Method::POST, "/charges", &[("idempotency-key", "k")], "");
        let got = app.call(anonymous).await;
        got.assert_problem(403, "scope-missing");
        assert_eq!(got.problem().ran, "no");
        app.call(post_of("", "k", "")).await.assert_problem(403, "scope-missing");
        assert_eq!((handler.calls(), requests.total()), (0, 0));
    }
}

#[tokio::test]
async fn a_layer_of_one_tenant_has_one_owner_of_all_keys() {
    let bed = Bed::new(StoreKind::Memory, Front::Tower).await;
    let handler = Handler::counting();
    let app = bed.app(IdempotencyLayer::single_tenant(bed.sentinel.clone()), &handler);
    app.call(request(Method::POST, "/charges", &[("idempotency-key", "k")], "")).await;
    assert!(app.call(post_of("any", "k", "")).await.is_replay());
}

#[tokio::test]
async fn a_scope_that_fills_its_share_leaves_room_for_others() {
    for front in [Front::Axum, Front::Tower] {
        let bed = Bed::new(StoreKind::Memory, front).await;
        let (gate, started) = (Gate::closed(), Arc::new(AtomicUsize::new(0)));
        let (pass, count) = (gate.clone(), started.clone());
        let handler = Handler::new(move |request: Request<Bytes>, _| {
            let (pass, count) = (pass.clone(), count.clone());
            async move {
                if request.headers()["x-tenant"] == "greedy" {
                    count.fetch_add(1, Ordering::SeqCst);
                    pass.pass().await;
                }
                text(200, "done")
            }
        });
        let limits = Limits { running: 8, ..Limits::default() };
        let app = bed.app(bed.layer().limits(limits), &handler);
        let greedy: Vec<_> = (0..2)
            .map(|n| {
                let app = app.clone();
                tokio::spawn(async move { app.call(post_of("greedy", &format!("g{n}"), "")).await })
            })
            .collect();
        crate::harness::until("both run", async || started.load(Ordering::SeqCst) == 2).await;
        let refused = app.call(post_of("greedy", "g3", "")).await;
        refused.assert_problem(503, "busy");
        assert_eq!((refused.problem().ran.as_str(), refused.header("retry-after")), ("unknown", Some("1")));
        assert_eq!(app.call(post_of("modest", "m", "")).await.status, 200);
        gate.open();
        for call in greedy {
            assert_eq!(call.await.unwrap().status, 200);
        }
        assert_eq!(app.call(post_of("greedy", "g3", "")).await.status, 200, "the share is given back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_who_wait_for_one_key_do_not_keep_new_keys_from_running() {
    let bed = Bed::new(StoreKind::Memory, Front::Tower).await;
    let gate = Gate::closed();
    let pass = gate.clone();
    let handler = Handler::new(move |request: Request<Bytes>, _| {
        let pass = pass.clone();
        async move {
            if request.uri().path() == "/charges" {
                pass.pass().await;
            }
            text(200, "done")
        }
    });
    let app = bed.app(bed.layer(), &handler);
    let waiting: Vec<_> = (0..5_000)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { app.post("one", "").await })
        })
        .collect();
    crate::harness::until("one runs", async || handler.calls() == 1).await;
    let fields = [("x-tenant", "acme"), ("idempotency-key", "new")];
    let new = app.call(request(Method::POST, "/notes", &fields, "")).await;
    assert_eq!(new.status, 200, "{new:?}");
    gate.open();
    let mut statuses = std::collections::BTreeMap::new();
    for call in waiting {
        *statuses.entry(call.await.unwrap().status).or_insert(0) += 1;
    }
    // 64 wait for a key; further callers get 409, or 503 if there is no room.
    assert!(
        statuses[&200] >= 1 && statuses.keys().all(|status| [200, 409, 503].contains(status)),
        "{statuses:?}"
    );
    assert_eq!(app.call(post("one", "")).await.status, 200);
    assert_eq!(handler.calls(), 2);
}

#[tokio::test]
async fn scopes_of_any_bytes_and_length_are_names_of_records() {
    let bed = Bed::new(StoreKind::Memory, Front::Tower).await;
    let handler = Handler::counting();
    let layer = IdempotencyLayer::new(bed.sentinel.clone(), |parts| {
        let n: usize = parts.headers["x-n"].to_str().ok()?.parse().ok()?;
        Some(match n {
            0 => Scope::new("s".repeat(200)),
            1 => Scope::new("s".repeat(201)),
            2 => Scope::new("s".repeat(202)),
            3 => Scope::new([0, 10, 255]),
            4 => Scope::new("é").part("ü"),
            _ => Scope::new("é,ü"),
        })
    });
    let app = bed.app(layer, &handler);
    for n in 0..6 {
        let n_text = n.to_string();
        let fields = [("x-n", n_text.as_str()), ("idempotency-key", "k")];
        let got = app.call(request(Method::POST, "/charges", &fields, "")).await;
        assert_eq!(got.text(), format!("call {}: ", n + 1));
    }
    let listing = bed.sentinel.list(sentinel::record::Kind::Execution, None, None, 100).await.unwrap();
    assert_eq!(listing.records.len(), 6);
    assert!(listing.records.iter().all(|(key, _)| key.as_str().len() <= 512));
}
