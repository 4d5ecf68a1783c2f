//! How to test code that uses Sentinel: in memory, with a clock that the test moves.
//!
//! `cargo test -p sentinel-coordination --example unit_test`

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use sentinel::prelude::*;

/// The code under test. It takes a client and does not know which store is behind it.
pub async fn send_invoice(sentinel: &Sentinel, invoice: &str) -> Result<&'static str, sentinel::Error> {
    let send = |_| async { Ok::<_, std::io::Error>("sent".to_owned()) };
    Ok(match sentinel.once(invoice).run(send).await? {
        Outcome::Completed(_) | Outcome::CompletedNotStored(..) => "sent now",
        Outcome::Replayed(_) => "sent before",
        Outcome::Uncertain(_) | Outcome::RanUncertain(_) => "call support",
        _ => "try again",
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), sentinel::Error> {
    let sentinel = Sentinel::new(MemoryStore::new());
    println!("{}", send_invoice(&sentinel, "42").await?);
    println!("{}", send_invoice(&sentinel, "42").await?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn an_invoice_is_sent_once() {
        let sentinel = Sentinel::new(MemoryStore::new());
        assert_eq!(send_invoice(&sentinel, "42").await.unwrap(), "sent now");
        assert_eq!(send_invoice(&sentinel, "42").await.unwrap(), "sent before");
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_vanished_leaves_doubt() {
        let sentinel = Sentinel::new(MemoryStore::new());
        let vanishes = sentinel.once::<std::io::Error>("42").ttl(Duration::from_secs(10));
        let vanished = tokio::spawn(vanishes.run(|_| std::future::pending::<Result<(), _>>()));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(send_invoice(&sentinel, "42").await.unwrap(), "try again");
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(send_invoice(&sentinel, "42").await.unwrap(), "call support");
        vanished.abort();
    }
}
