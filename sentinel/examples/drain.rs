//! A service that is asked to end: what runs ends, what has ended is recorded, and what is left is named.
//!
//! `cargo run -p sentinel --example drain`

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use sentinel::prelude::*;

/// A handler of requests. Its caller may go away in the middle: the charge goes on all the same.
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

    // The client hangs up: its handler is dropped, and the charge has no caller any more.
    let hung_up =
        tokio::time::timeout(Duration::from_millis(50), handle(sentinel.clone(), "invoice-42")).await;
    println!("the client has hung up: {}", hung_up.is_err());

    // SIGTERM: the server accepts no requests any more, its handlers have ended, and now the client is drained.
    let drained = sentinel.drain(Duration::from_secs(25)).await;
    println!("everything is finished: {}", drained.is_complete());
    for left in &drained.unfinished {
        println!("not finished: {left}");
    }

    // Nothing is granted any more.
    handle(sentinel.clone(), "invoice-43").await;
    let seen = sentinel.inspect(sentinel::Kind::Execution, "invoice-42").await?;
    println!("invoice-42: {}", seen.record.map_or("absent", |record| record.state.as_str()));
    Ok(())
}
