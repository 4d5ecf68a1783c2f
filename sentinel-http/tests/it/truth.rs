//! H21, H22: what an answer states about the effect is true, and what a request costs.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use sentinel::Sentinel;
use sentinel::policy::Policy;
use sentinel_http::{Body, InFlight, Limits, NothingHappened};

use crate::counted::{Requests, counted};
use crate::harness::{App, Bed, Gate, Handler, layer, on_every_store, post, request, text, until};

on_every_store! {
    no_answer_denies_an_effect_that_took_place_or_can_still_take_place
    a_fresh_request_costs_two_operations_and_a_replay_one
}

/// What became of the key before.
const STATES: [&str; 6] = ["absent", "in-progress", "completed", "uncertain", "free", "expired"];

struct World {
    app: App,
    requests: Requests,
    gate: Gate,
    /// The same layer with no room for a request.
    full: App,
}

fn world(bed: &Bed) -> (World, Handler) {
    let (store, requests) = counted(bed.store.clone());
    let namespace = bed.sentinel.current_namespace().as_str();
    let sentinel =
        Sentinel::new(store).namespace(namespace).unwrap().retry_timeout(Duration::from_millis(50));
    let gate = Gate::closed();
    let pass = gate.clone();
    let handler = Handler::new(move |request: Request<Bytes>, _| {
        let (pass, body) = (pass.clone(), String::from_utf8_lossy(request.body()).into_owned());
        async move {
            match body.as_str() {
                "in-progress" => {
                    pass.pass().await;
                    text(200, "done")
                }
                "uncertain" => text(500, "failed"),
                "free" => {
                    let mut response = text(503, "not sent");
                    response.extensions_mut().insert(NothingHappened);
                    response
                }
                _ => text(200, "done"),
            }
        }
    });
    let layer = layer(sentinel).in_flight(InFlight::Conflict);
    let full = bed.app(layer.clone().limits(Limits { running: 0, ..Limits::default() }), &handler);
    (World { app: bed.app(layer, &handler), requests, gate, full }, handler)
}

/// Requests under a key whose earlier request had this body, and what they can be refused for.
fn copies(state: &str) -> Vec<Request<Body>> {
    let with = |fields: &[(&str, &str)], body: &str| {
        let all: Vec<_> =
            [("x-tenant", "acme"), ("idempotency-key", state)].iter().chain(fields).copied().collect();
        request(Method::POST, "/charges", &all, body)
    };
    vec![with(&[], state), with(&[], "another body"), with(&[("prefer", "wait=0")], state)]
}

pub(crate) async fn no_answer_denies_an_effect_that_took_place_or_can_still_take_place(bed: Bed) {
    let (world, handler) = world(&bed);
    let expired = bed.app(bed.layer().policy(Policy::new().retention(Duration::from_millis(1))), &handler);
    let running = tokio::spawn({
        let app = world.app.clone();
        async move { app.post("in-progress", "in-progress").await }
    });
    until("a handler runs", async || handler.calls() == 1).await;
    for state in ["completed", "uncertain", "free"] {
        world.app.post(state, state).await;
    }
    expired.post("expired", "expired").await;
    for state in STATES {
        for (condition, app) in [("away", &world.app), ("full", &world.full)] {
            world.requests.set_away(condition == "away");
            for copy in copies(state) {
                let got = app.call(copy).await;
                let problem = got.problem();
                assert_eq!(problem.ran, "unknown", "{state}, {condition}: {}", problem.document);
                assert_eq!(problem.document["retry"], "same-key", "{state}, {condition}");
            }
        }
        world.requests.set_away(false);
    }
    for (state, name) in [("in-progress", "in-progress"), ("uncertain", "uncertain")] {
        let problem = world.app.post(state, state).await.problem();
        assert_eq!((problem.name.as_str(), problem.ran.as_str()), (name, "unknown"));
        let reused = world.app.post(state, "another body").await.problem();
        assert_eq!((reused.name.as_str(), reused.ran.as_str()), ("key-reused", "unknown"));
    }
    world.gate.open();
    assert_eq!(running.await.unwrap().status, 200);
}

pub(crate) async fn a_fresh_request_costs_two_operations_and_a_replay_one(bed: Bed) {
    let (world, _) = world(&bed);
    let cost = async |key: &str| {
        let before = (world.requests.operations(), world.requests.total());
        assert_eq!(world.app.call(post(key, "x")).await.status, 200);
        (world.requests.operations() - before.0, world.requests.total() - before.1)
    };
    assert_eq!(cost("k").await, (2, 2), "claim and complete");
    assert_eq!(cost("k").await, (1, 1), "one claim");
}
