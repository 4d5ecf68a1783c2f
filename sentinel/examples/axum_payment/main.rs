//! A payment endpoint for many tenants: `POST /charges` with an `Idempotency-Key` charges at most once.
//!
//! `cargo run -p sentinel-coordination --example axum_payment --features axum,postgres,redis,sqlite -- STORE`
//!
//! STORE is `postgres://..`, `redis://..`, `sqlite:FILE` or `memory:` (the default). The environment sets `LISTEN`
//! (127.0.0.1:3000) and `LEDGER`, the file in which the fake provider notes each charge (charges.log).

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

mod provider;
#[cfg(test)]
mod tests;

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use provider::{Order, Provider, ProviderError, Receipt};
use sentinel::http::{IdempotencyLayer, Idempotent, InFlight, NothingHappened, Scope};
use sentinel::prelude::*;
use sentinel::reconcile::{ProbeResult, UncertainKey};

/// The tenant of a request. A real service looks the token up; here it is the name.
#[derive(Clone)]
struct Tenant(String);

async fn authenticate(mut request: Request, next: Next) -> Response {
    let field = request.headers().get(header::AUTHORIZATION).and_then(|field| field.to_str().ok());
    match field.and_then(|field| field.strip_prefix("Bearer ")).filter(|token| !token.is_empty()) {
        Some(token) => {
            let tenant = Tenant(token.to_owned());
            request.extensions_mut().insert(tenant);
            next.run(request).await
        }
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

async fn charge(
    State(provider): State<Provider>,
    Idempotent { run, body: Json(order) }: Idempotent<Json<Order>>,
) -> Result<(StatusCode, Json<Receipt>), Response> {
    let charged = provider.charge(&order, &run.idempotency_key()).await;
    charged.map(|receipt| (StatusCode::CREATED, Json(receipt))).map_err(|error| match error {
        // Recorded, and replayed to every retry.
        ProviderError::Declined => (StatusCode::PAYMENT_REQUIRED, "the card was declined").into_response(),
        // The key is free again.
        ProviderError::NotSent => (NothingHappened, StatusCode::SERVICE_UNAVAILABLE).into_response(),
        // Whether the card was charged is not known: no retry runs until the key is reconciled.
        ProviderError::Lost => StatusCode::BAD_GATEWAY.into_response(),
    })
}

/// The service: what it answers, without what runs beside it.
fn app(sentinel: &Sentinel, provider: Provider, metrics: PrometheusHandle) -> Router {
    let layer = IdempotencyLayer::new(sentinel.clone(), |parts| {
        parts.extensions.get::<Tenant>().map(|tenant| Scope::new(&tenant.0))
    })
    .policy(
        Policy::new()
            .ttl(Duration::from_secs(3))
            .hard_ttl(Duration::from_secs(30))
            .late_effects(Duration::ZERO),
    )
    .in_flight(InFlight::Wait(Duration::from_secs(10)))
    .status_at("/requests");
    Router::new()
        .route("/requests", get(layer.status()))
        .route("/charges", post(charge).layer(layer))
        .layer(middleware::from_fn(authenticate))
        .route("/metrics", get(move || async move { metrics.render() }))
        .with_state(provider)
}

/// Settles uncertain keys: the provider is asked whether it knows the idempotency key.
async fn probe(provider: Provider, key: UncertainKey) -> ProbeResult {
    match provider.find(&key.idempotency_key).await {
        Ok(Some(receipt)) => {
            ProbeResult::happened(&receipt, "the provider knows the key").unwrap_or(ProbeResult::StillUnknown)
        }
        Ok(None) => ProbeResult::did_not_happen("the provider does not know the key"),
        Err(_) => ProbeResult::StillUnknown,
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let listen = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let (store, _) = sentinel::Deployment::parse(&url)?.init().await?;
    let sentinel = Sentinel::from_arc(store).namespace("payments")?;
    let provider = Provider::at(std::env::var("LEDGER").unwrap_or_else(|_| "charges.log".to_owned()));

    let asked = provider.clone();
    let reconciler = sentinel.reconcile_with("axum_payment", move |key| probe(asked.clone(), key)).start();

    let listener = tokio::net::TcpListener::bind(&listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app(&sentinel, provider, metrics)).with_graceful_shutdown(terminated()).await?;
    reconciler.stop().await;
    // Handlers whose callers have gone are still running.
    for left in sentinel.drain(Duration::from_secs(30)).await.unfinished {
        println!("left unfinished: {left}");
    }
    Ok(())
}

async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        }
        _ => std::future::pending().await,
    }
}
