//! The README's Rust is compiled: its lines are in this file, those about PostgreSQL in a file of that store's tests.

use std::time::Duration;

use sentinel::outcome::NotRun;
use sentinel::prelude::*;
use sentinel::store::operation::Current;

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
        .fingerprint(&request)                                       // both calls have one, and they differ: an error
        .nothing_happened_if(|e: &PspError| e.is_declined())         // after any other error the key is uncertain
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
        Outcome::InProgress(_) | Outcome::Reconciling(_) => come_back_later(), // another call or operator holds the key
        Outcome::NotRun(reason) => call_again(reason),             // nothing was charged: the same key again is safe
        Outcome::Unconfirmed(Ok(receipt)) => ship(receipt),        // charged; a task goes on recording it
        Outcome::Unconfirmed(Err(error)) => report(error),         // failed for good; a task goes on recording it
        Outcome::Superseded(charged, decided) => call_support(charged, decided), // an operator had decided meanwhile
        Outcome::RanUncertain(doubt) => reconcile(doubt.token),        // whether this call charged is not known
        Outcome::Uncertain(doubt) => reconcile(doubt.token),       // whether an earlier call charged is not known
    }
}

/// Exactly as in the README. No test runs it: it opens a file.
#[rustfmt::skip]
#[allow(clippy::print_stdout, dead_code, reason = "the README's first program prints what happened")]
mod first_program {
    use sentinel::prelude::*;

    /// Your payment provider.
    async fn charge(cents: u64, idempotency_key: &str) -> Result<String, std::io::Error> {
        Ok(format!("{cents} cents under {idempotency_key}"))
    }

    #[tokio::main]
    async fn main() -> Result<(), Box<dyn std::error::Error>> {
        let sentinel = Sentinel::new(SqliteStore::open("sentinel.db").await?).namespace("billing")?;
        let outcome = sentinel
            .once("invoice-42")
            .run(|run: Run| async move { charge(1999, &run.idempotency_key()).await })
            .await?;
        match outcome {
            Outcome::Completed(receipt) => println!("charged now: {receipt}"),
            Outcome::Replayed(receipt) => println!("charged before: {receipt}"),
            other => println!("{}", other.name()), // each of them is listed below
        }
        Ok(())
    }
}

#[cfg(feature = "testing")]
#[rustfmt::skip]
mod crash_test {
    use sentinel::testing::Attempt;

    #[test]
    fn a_payment_survives_every_crash() {
        sentinel::testing::check(async |attempt: Attempt| {
            let effects = attempt.effects();                          // a fake provider reports each charge to it
            let charge = |_| async move { effects.happen("invoice-42").await };
            attempt.sentinel().once("invoice-42").run(charge).await   // here: your function, given `attempt.sentinel()`
        });
    }
}

/// The block about Redis, which needs a server.
#[cfg(feature = "redis")]
#[rustfmt::skip]
mod redis {
    #[expect(dead_code, reason = "it is compiled, and needs a server")]
    async fn connect() -> Result<(), sentinel::store::StoreError> {
        let store = sentinel::RedisStore::connect("rediss://app:secret@redis/0").await?;   // feature `redis-tls`
        drop(store);
        Ok(())
    }
}

/// The block about HTTP.
#[cfg(feature = "axum")]
#[rustfmt::skip]
mod http {
    use axum::Router;
    use axum::routing::post;
    use sentinel::http::{IdempotencyLayer, IdempotentRun, Scope};
    use sentinel::prelude::*;

    #[derive(Clone)]
    struct Tenant(String);

    async fn charge(_: IdempotentRun) {}

    #[expect(dead_code, clippy::let_and_return, reason = "the lines are the README's, and only compiled")]
    fn app(sentinel: Sentinel) -> Router {
        let layer = IdempotencyLayer::new(sentinel, |parts| {
            parts.extensions.get::<Tenant>().map(|tenant| Scope::new(&tenant.0))   // who owns the key?
        });
        let app = Router::new().route("/charges", post(charge).layer(layer));
        app
    }
}

const README: &str = include_str!("../../../README.md");

/// The lines that are not blank, without their indentation.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// The blocks of Rust below a heading.
fn blocks(heading: &str) -> Vec<&'static str> {
    let (_, section) = README.split_once(heading).unwrap();
    let section = section.split_once("\n## ").unwrap().0;
    section.split("```rust\n").skip(1).map(|text| text.split_once("```").unwrap().0).collect()
}

fn is_here(part: &[&str]) -> bool {
    lines(include_str!("readme.rs")).windows(part.len()).any(|lines| lines == part)
}

#[test]
fn all_blocks_of_the_readme_are_compiled() {
    let blocks = blocks("\n## In Rust\n");
    let [program, outcomes, crash_test] = blocks.as_slice() else { panic!("{blocks:#?}") };
    for whole in [program, crash_test].map(|block| lines(block)) {
        assert!(is_here(&whole), "not compiled here: {whole:#?}");
    }
    for part in outcomes.split("\n\n").map(lines) {
        assert!(is_here(&part), "not compiled here: {part:#?}");
    }
    drop(pay("declined"));
    assert_eq!(answer(Outcome::RanUncertain(doubt())), "7");
}

#[test]
fn the_address_of_redis_in_the_readme_is_compiled() {
    let redis = blocks("\n## On Redis\n");
    assert_eq!(redis.len(), 1);
    for line in redis.into_iter().flat_map(lines) {
        assert!(is_here(&[line]), "not compiled here: {line}");
    }
}

#[test]
fn the_layer_in_the_readme_is_compiled() {
    let http = blocks("\n## Over HTTP\n");
    assert_eq!(http.len(), 1);
    for line in http.into_iter().flat_map(lines) {
        assert!(is_here(&[line]), "not compiled here: {line}");
    }
}

fn doubt() -> sentinel::outcome::RanUncertain<PspError> {
    let (cause, token) = (sentinel::record::Label::lossy("lost"), Token::new(7).unwrap());
    sentinel::outcome::RanUncertain {
        cause,
        error: None,
        token,
        claim_id: sentinel::record::ClaimId::random(),
    }
}
