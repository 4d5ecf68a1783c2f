//! A polling loop that one of many processes runs at a time, with a fencing token for the resource that it writes to.
//!
//! `cargo run -p sentinel-coordination --example polling`

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::sync::Mutex;
use std::time::Duration;

use sentinel::prelude::*;

/// A resource that checks tokens: after a newer token it accepts no older one.
#[derive(Debug, Default)]
struct Ledger(Mutex<(u64, Vec<String>)>);

impl Ledger {
    fn append(&self, token: Token, line: String) -> Result<(), String> {
        let mut ledger = self.0.lock().map_err(|_| "the ledger is broken")?;
        if token.get() < ledger.0 {
            return Err(format!("token {token} is stale"));
        }
        ledger.0 = token.get();
        ledger.1.push(line);
        Ok(())
    }
}

async fn worker(sentinel: Sentinel, name: &str, ledger: &Ledger) -> Result<(), sentinel::Error> {
    let lease = sentinel
        .lease("poller")
        .worker(name)
        .ttl(Duration::from_millis(300))
        .hard_ttl(Duration::from_secs(60))
        .wait(Duration::from_secs(10));
    let LeaseOutcome::Held(lease) = lease.acquire().await? else { return Ok(()) };
    println!("{name} polls");
    let lost = lease.cancelled();
    for turn in 1..=3 {
        // A worker that lost its lease stops here. A worker that was suspended before it noticed is refused by the
        // ledger.
        if lost.is_cancelled() || ledger.append(lease.token(), format!("{name}, turn {turn}")).is_err() {
            println!("{name} has lost the lease");
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    lease.release().await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), sentinel::Error> {
    let (sentinel, ledger) = (Sentinel::new(MemoryStore::new()), Ledger::default());
    let (ada, bob) =
        tokio::join!(worker(sentinel.clone(), "ada", &ledger), worker(sentinel.clone(), "bob", &ledger));
    ada.and(bob)?;
    println!("{:#?}", ledger.0.lock().map(|ledger| ledger.1.clone()).unwrap_or_default());
    Ok(())
}
