//! Tests a function of yours with every crash and every lost message.
//!
//! `cargo test -p sentinel-coordination --features testing --example crash_test`

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::fmt;
use std::time::Duration;

use sentinel::prelude::*;
use sentinel::testing::{Attempt, Effects, NoAnswer, Reported, Worlds};

/// The interface of a payment provider, as the code under test uses it.
pub trait Provider: Clone + Send + Sync + 'static {
    /// Charges an invoice.
    fn charge(
        &self,
        invoice: &str,
        idempotency_key: &str,
    ) -> impl Future<Output = Result<(), ChargeError>> + Send;
}

/// Why there is no receipt: the provider declined, or the outcome is unknown.
#[derive(Debug)]
#[expect(missing_docs, reason = "an example")]
pub enum ChargeError {
    Declined,
    ConnectionReset,
}

impl fmt::Display for ChargeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// The message for the customer.
#[derive(Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "an example")]
pub enum Page {
    Thanks,
    TryAgain,
    WeCallYou,
}

/// The code under test.
pub async fn pay(
    sentinel: &Sentinel,
    provider: impl Provider,
    invoice: &str,
) -> Result<Page, sentinel::Error> {
    let (psp, number) = (provider, invoice.to_owned());
    let once = sentinel.once(invoice).ttl(Duration::from_secs(3)).hard_ttl(Duration::from_secs(30));
    let once = once.nothing_happened_if(|error| matches!(error, ChargeError::Declined));
    let charge = |run: Run| async move { psp.charge(&number, &run.idempotency_key()).await };
    Ok(match once.run(charge).await? {
        Outcome::Completed(()) | Outcome::CompletedNotStored((), _) | Outcome::Replayed(()) => Page::Thanks,
        Outcome::Uncertain(_) | Outcome::RanUncertain(_) | Outcome::Reconciling(_) => Page::WeCallYou,
        _ => Page::TryAgain,
    })
}

/// A fake provider that exists only in the test. The test decides whether its answers arrive.
#[derive(Debug, Clone)]
struct FakeProvider(Effects);

impl Provider for FakeProvider {
    async fn charge(&self, invoice: &str, _: &str) -> Result<(), ChargeError> {
        self.0.happen(invoice).await.map_err(|NoAnswer| ChargeError::ConnectionReset)
    }
}

/// One call, in one process of one world. Reports whether the function claims that the work is done.
async fn pays(attempt: Attempt) -> Reported {
    let provider = FakeProvider(attempt.effects());
    match pay(&attempt.sentinel(), provider, "invoice-42").await {
        Ok(Page::Thanks) => Reported::Done,
        page => Reported::NotDone(format!("{page:?}")),
    }
}

fn main() {
    let checked = Worlds::default().check(pays);
    println!("charged at most once, and no unknown outcome was hidden, in {} worlds", checked.worlds);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_survives_every_crash() {
        sentinel::testing::check(pays);
    }
}
