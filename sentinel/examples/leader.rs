//! One of several processes leads: it polls the bank, and another takes over when it stops.
//!
//! `cargo run -p sentinel-coordination --example leader`

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::ops::ControlFlow;
use std::time::Duration;

use sentinel::prelude::*;

/// Polls three times while this process leads. A resource that checks tokens refuses an earlier leader's write.
async fn poll(sentinel: Sentinel, name: &'static str) -> Result<(), sentinel::Error> {
    let led = sentinel.lead("poll-the-bank").run(|leader| async move {
        for round in 1..=3 {
            if leader.should_stop() {
                return ControlFlow::Continue(());
            }
            println!("{name} polls, round {round}, token {}", leader.token());
            leader.sleep(Duration::from_millis(10)).await;
        }
        // The work of this process is done; the next one leads.
        ControlFlow::Break(())
    });
    println!("{name} ends: {:?}", led.await?);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), sentinel::Error> {
    let sentinel = Sentinel::new(MemoryStore::new()).namespace("bank")?;
    let (first, second) = tokio::join!(poll(sentinel.clone(), "first"), poll(sentinel, "second"));
    first.and(second)
}
