//! A webhook handler: deliveries are repeated and overlap, and each event takes effect once.
//!
//! `cargo run -p sentinel-coordination --example webhook`

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use sentinel::Error;
use sentinel::prelude::*;

/// The status for the sender: 200 ends the deliveries, 409 and 503 request another one later.
async fn deliver(sentinel: &Sentinel, event_id: &str, body: &str) -> u16 {
    let order = body.to_owned();
    let outcome = sentinel
        .once(event_id)
        .fingerprint_text(body)
        .retention(Duration::from_secs(30 * 24 * 60 * 60))
        .wait(Duration::from_secs(2))
        .run(|_| async move { ship(&order).await })
        .await;
    match outcome {
        Ok(Outcome::Completed(_) | Outcome::CompletedNotStored(..) | Outcome::Replayed(_)) => 200,
        Ok(Outcome::InProgress(_) | Outcome::Reconciling(_)) => 409,
        Ok(Outcome::NotRun(_) | Outcome::Failed(_)) => 503,
        // The event may have taken effect: no other delivery may run it, and an operator decides.
        Ok(
            Outcome::RanUncertain(_)
            | Outcome::Uncertain(_)
            | Outcome::Unconfirmed(_)
            | Outcome::Superseded(..),
        ) => 409,
        // The event took effect. Its value cannot be replayed, and is not needed here.
        Err(Error::ResultNotStored(_) | Error::Undecodable { .. }) => 200,
        // The same id with another body is not a repetition.
        Err(Error::FingerprintMismatch) => 422,
        Err(Error::Invalid(_)) => 400,
        Err(Error::Store(_)) => 503,
    }
}

async fn ship(order: &str) -> Result<String, std::io::Error> {
    tokio::time::sleep(Duration::from_millis(50)).await;
    println!("  shipping {order}");
    Ok(format!("shipped {order}"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), sentinel::Error> {
    let sentinel = Sentinel::new(MemoryStore::new()).namespace("webhooks")?;
    let (first, overlapping) =
        tokio::join!(deliver(&sentinel, "evt-1", "order 7"), deliver(&sentinel, "evt-1", "order 7"));
    println!("two overlapping deliveries: {first}, {overlapping}");
    println!("a late one: {}", deliver(&sentinel, "evt-1", "order 7").await);
    println!("the same id with another body: {}", deliver(&sentinel, "evt-1", "order 8").await);
    Ok(())
}
