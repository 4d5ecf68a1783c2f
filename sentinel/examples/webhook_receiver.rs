//! A receiver of signed webhooks: each message takes effect once, however often it is delivered.
//!
//! `cargo run -p sentinel-coordination --example webhook_receiver --features axum`

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::post;
use axum::{Extension, Router};
use sentinel::http::{ReceivedWebhook, WebhookReceiver, WebhookSecret, WebhookSource};
use sentinel::prelude::*;
use tower::ServiceExt as _;

async fn ship(Extension(webhook): Extension<ReceivedWebhook>, body: String) -> StatusCode {
    println!("  {} of {}: {body}", webhook.id, webhook.source);
    StatusCode::NO_CONTENT
}

/// Delivers a message, as a sender does.
async fn deliver(
    app: &Router,
    secret: &WebhookSecret,
    id: &str,
    body: &'static str,
) -> Result<StatusCode, Error> {
    #[expect(clippy::disallowed_methods, reason = "a sender that is not ours states its own time")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let request = Request::post("/hooks")
        .header("webhook-id", id)
        .header("webhook-timestamp", now.to_string())
        .header("webhook-signature", secret.sign(id, now, body.as_bytes()))
        .body(Body::from(body))?;
    Ok(app.clone().oneshot(request).await?.status())
}

type Error = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let secret = WebhookSecret::from_bytes([7; 32])?;
    let shop = WebhookSource::new("shop").secret(secret.clone());
    let sentinel = Sentinel::new(MemoryStore::new()).namespace("webhooks")?;
    let app = Router::new().route("/hooks", post(ship)).layer(WebhookReceiver::new(sentinel, [shop])?);

    println!("a message: {}", deliver(&app, &secret, "msg-1", "order 42").await?);
    println!("delivered again: {}", deliver(&app, &secret, "msg-1", "order 42").await?);
    let forged = WebhookSecret::from_bytes([8; 32])?;
    println!("signed by another: {}", deliver(&app, &forged, "msg-2", "order 43").await?);
    Ok(())
}
