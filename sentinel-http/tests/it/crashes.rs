//! H17: every crash and every lost message, by `sentinel::testing` over a handler behind the layer.

use std::convert::Infallible;

use http::{Request, Response};
use sentinel::testing::{self, Attempt, Reported};
use sentinel_http::Body;
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::harness::{layer, post, text};

/// A charge behind the layer. A retry of the caller reports what its answer states.
async fn charge(attempt: Attempt) -> Reported {
    let effects = attempt.effects();
    let handler = service_fn(move |_: Request<Body>| {
        let effects = effects.clone();
        async move {
            let status = match effects.happen("charge").await {
                Ok(()) => 201,
                // The provider did not answer: whether it charged is not known.
                Err(_) => 502,
            };
            Ok::<Response<Body>, Infallible>(text(status, "answered"))
        }
    });
    let service = layer(attempt.sentinel()).layer(handler);
    let answer = service.oneshot(post("k", "")).await.unwrap();
    reported(&answer)
}

fn reported(answer: &Response<Body>) -> Reported {
    match answer.status().as_u16() {
        201 => Reported::Done,
        status => Reported::NotDone(format!("status {status}")),
    }
}

#[test]
fn every_crash_of_a_handler_is_reported_or_harmless() {
    let checked = testing::check(charge);
    assert!(checked.worlds > 100, "{checked:?}");
}

/// The same with a wrong vouch, to show that the check can fail.
#[test]
#[should_panic(expected = "happened 2 times")]
fn a_handler_that_vouches_wrongly_is_found() {
    testing::check(async |attempt: Attempt| {
        let effects = attempt.effects();
        let handler = service_fn(move |_: Request<Body>| {
            let effects = effects.clone();
            async move {
                let mut response = text(201, "answered");
                if effects.happen("charge").await.is_err() {
                    response = text(502, "answered");
                    response.extensions_mut().insert(sentinel_http::NothingHappened);
                }
                Ok::<Response<Body>, Infallible>(response)
            }
        });
        let answer = layer(attempt.sentinel()).layer(handler).oneshot(post("k", "")).await.unwrap();
        reported(&answer)
    });
}
