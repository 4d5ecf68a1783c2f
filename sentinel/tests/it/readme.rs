//! The README's first block of Rust is compiled: its lines are in this file.

use std::time::Duration;

use sentinel::NotRun;
use sentinel::operation::Current;
use sentinel::prelude::*;

#[derive(Debug)]
enum PspError {
    Declined,
}

impl PspError {
    fn is_declined(&self) -> bool {
        matches!(self, Self::Declined)
    }
}

impl std::fmt::Display for PspError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("declined")
    }
}

struct Psp;

impl Psp {
    async fn charge(&self, request: &'static str, key: String) -> Result<String, PspError> {
        if request == "declined" { Err(PspError::Declined) } else { Ok(format!("{request} under {key}")) }
    }
}

fn ship(receipt: String) -> String {
    format!("shipped: {receipt}")
}

fn ask_for_another_card(failure: Failure<PspError>) -> String {
    format!("another card: {failure:?}")
}

fn come_back_later() -> String {
    "later".to_owned()
}

fn call_again(reason: NotRun) -> String {
    reason.to_string()
}

fn report(error: PspError) -> String {
    error.to_string()
}

fn call_support(charged: Result<String, PspError>, decided: Current) -> String {
    format!("{charged:?}, {decided:?}")
}

fn reconcile(token: Token) -> String {
    token.to_string()
}

#[rustfmt::skip]
async fn pay(request: &'static str) -> Result<String, Box<dyn std::error::Error>> {
    let psp = Psp;
    let sentinel = Sentinel::new(SqliteStore::open("sentinel.db").await?).namespace("billing")?;

    let outcome = sentinel
        .once("invoice-42")
        .ttl(Duration::from_secs(3)).hard_ttl(Duration::from_secs(30))
        .fingerprint(&request)                                       // same key, another request: an error, not a replay
        .nothing_happened_if(|e: &PspError| e.is_declined())         // every other error is doubt
        .run(move |run: Run| async move { psp.charge(request, run.idempotency_key()).await })
        .await?;

    Ok(answer(outcome))
}

#[rustfmt::skip]
fn answer(outcome: Outcome<String, PspError>) -> String {
    match outcome {
        Outcome::Completed(receipt) | Outcome::Replayed(receipt) => ship(receipt),
        Outcome::CompletedNotStored(receipt, _) => ship(receipt),   // charged; later callers cannot read the receipt
        Outcome::Failed(failure) => ask_for_another_card(failure), // vouched: nothing happened, or failed for good
        Outcome::InProgress(_) | Outcome::Reconciling(_) => come_back_later(), // another call or an operator is at it
        Outcome::NotRun(reason) => call_again(reason),             // this call charged nothing: the same key again is safe
        Outcome::Unconfirmed(Ok(receipt)) => ship(receipt),        // charged; a task goes on recording it
        Outcome::Unconfirmed(Err(error)) => report(error),         // failed for good; a task goes on recording it
        Outcome::Superseded(charged, decided) => call_support(charged, decided), // an operator had decided meanwhile
        Outcome::RanUncertain(doubt) => reconcile(doubt.token),        // whether this call charged is not known
        Outcome::Uncertain(doubt) => reconcile(doubt.token),       // whether an earlier call charged is not known
    }
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).collect()
}

#[test]
fn the_readmes_first_block_is_the_one_that_is_compiled() {
    let readme = include_str!("../../../README.md");
    let (_, after) = readme.split_once("\n## In Rust\n\n```rust\n").unwrap();
    let (block, here) = (lines(after.split_once("```").unwrap().0), lines(include_str!("readme.rs")));
    for part in block.split(|line| line.is_empty()).filter(|part| !part.is_empty()) {
        assert!(here.windows(part.len()).any(|lines| lines == part), "not compiled here: {part:#?}");
    }
    assert!(block.len() > 15, "{block:?}");
    drop(pay("declined"));
    assert_eq!(answer(Outcome::RanUncertain(doubt())), "7");
}

fn doubt() -> sentinel::RanUncertain<PspError> {
    let (cause, token) = (sentinel::Label::lossy("lost"), Token::new(7).unwrap());
    sentinel::RanUncertain { cause, error: None, token, claim_id: sentinel::ClaimId::random() }
}
