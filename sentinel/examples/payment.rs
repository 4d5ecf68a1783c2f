//! A payment that is charged at most once, however often the request arrives.
//!
//! `cargo run -p sentinel-coordination --example payment`

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use sentinel::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize)]
struct Request {
    customer: &'static str,
    cents: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Receipt {
    charge: String,
}

#[derive(Debug, thiserror::Error)]
enum PspError {
    #[error("the card was declined")]
    Declined,
    #[error("the connection was reset")]
    ConnectionReset,
}

/// A fake of a payment provider that supports idempotency keys.
async fn charge(request: &Request, idempotency_key: &str) -> Result<Receipt, PspError> {
    match request.customer {
        "broke" => Err(PspError::Declined),
        "offline" => Err(PspError::ConnectionReset),
        customer => {
            Ok(Receipt { charge: format!("{} cents from {customer} ({idempotency_key})", request.cents) })
        }
    }
}

async fn pay(sentinel: &Sentinel, invoice: &str, request: Request) -> Result<String, sentinel::Error> {
    let outcome = sentinel
        .once(invoice)
        .ttl(Duration::from_secs(3))
        .hard_ttl(Duration::from_secs(30))
        .fingerprint(&request)
        .nothing_happened_if(|error| matches!(error, PspError::Declined))
        .run(|run: Run| async move { charge(&request, &run.idempotency_key()).await })
        .await?;
    Ok(match outcome {
        Outcome::Completed(receipt) => format!("charged now: {}", receipt.charge),
        Outcome::CompletedNotStored(receipt, why) => {
            format!("charged now: {}; later calls get no receipt: {why}", receipt.charge)
        }
        Outcome::Replayed(receipt) => format!("charged before: {}", receipt.charge),
        Outcome::Failed(Failure::NothingHappened(error)) => format!("not charged, try again: {error}"),
        Outcome::Failed(failure) => format!("not charged: {failure}"),
        Outcome::InProgress(other) => {
            format!("another worker is charging, for at least {:?}", other.remaining)
        }
        Outcome::RanUncertain(doubt) => format!("NOT KNOWN whether it was charged: {}", doubt.cause),
        Outcome::Uncertain(doubt) => {
            format!("NOT KNOWN whether it was charged: reconcile it, token {}", doubt.token)
        }
        Outcome::Reconciling(by) => format!("{} is reconciling", by.operator),
        Outcome::NotRun(reason) => format!("not charged: {reason}"),
        Outcome::Unconfirmed(result) => format!("ended as {result:?}, not yet recorded"),
        Outcome::Superseded(result, current) => {
            format!("ended as {result:?}, but decided as {}", current.state)
        }
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), sentinel::Error> {
    let sentinel = Sentinel::new(MemoryStore::new()).namespace("billing")?;
    for (invoice, customer) in
        [("42", "ada"), ("42", "ada"), ("43", "broke"), ("43", "broke"), ("44", "offline"), ("44", "offline")]
    {
        println!("invoice {invoice}: {}", pay(&sentinel, invoice, Request { customer, cents: 1999 }).await?);
    }
    // The same invoice with another amount is another request: it is refused, not replayed.
    let mistaken = pay(&sentinel, "42", Request { customer: "ada", cents: 1 }).await;
    println!("invoice 42: {}", mistaken.expect_err("the fingerprints differ"));
    Ok(())
}
