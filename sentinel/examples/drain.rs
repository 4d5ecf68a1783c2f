//! A service that shuts down: running functions finish, results are recorded, and unfinished work is reported.
//!
//! `cargo run -p sentinel-coordination --example drain`

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use sentinel::prelude::*;

/// Handles one request. If its caller goes away midway, the charge continues.
async fn handle(sentinel: Sentinel, invoice: &'static str) {
    let once = sentinel.once(invoice).hard_ttl(Duration::from_secs(60));
    let outcome = once.run(move |_| async move {
        println!("{invoice}: the charge is under way");
        tokio::time::sleep(Duration::from_millis(200)).await;
        println!("{invoice}: charged");
        Ok::<_, std::convert::Infallible>("receipt 7".to_owned())
    });
    match outcome.await.map(|outcome| outcome.name()) {
        Ok(name) => println!("{invoice}: {name}"),
        Err(error) => println!("{invoice}: {error}"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), sentinel::Error> {
    let sentinel = Sentinel::new(MemoryStore::new()).namespace("billing")?;

    // The client disconnects: its handler is dropped, and the charge continues without a caller.
    let hung_up =
        tokio::time::timeout(Duration::from_millis(50), handle(sentinel.clone(), "invoice-42")).await;
    println!("the client has hung up: {}", hung_up.is_err());

    // SIGTERM: the server accepts no more requests and its handlers have ended. Now the client is drained.
    let drained = sentinel.drain(Duration::from_secs(25)).await;
    println!("everything is finished: {}", drained.is_complete());
    for left in &drained.unfinished {
        println!("not finished: {left}");
    }

    // No more claims are granted.
    handle(sentinel.clone(), "invoice-43").await;
    let seen = sentinel.inspect(sentinel::record::Kind::Execution, "invoice-42").await?;
    println!("invoice-42: {}", seen.record.map_or("absent", |record| record.state.as_str()));
    Ok(())
}
