//! A fake of a payment provider: it notes each charge as a line of a file, which outlives the service.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) cents: u64,
    pub(crate) card: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    pub(crate) cents: u64,
    pub(crate) idempotency_key: String,
}

#[derive(Debug)]
pub(crate) enum ProviderError {
    /// The provider refused: nothing was charged, and nothing will be.
    Declined,
    /// The request did not reach the provider.
    NotSent,
    /// The reply was lost.
    Lost,
}

#[derive(Debug, Clone)]
pub(crate) struct Provider {
    ledger: Arc<PathBuf>,
}

impl Provider {
    pub(crate) fn at(ledger: impl Into<PathBuf>) -> Self {
        Self { ledger: Arc::new(ledger.into()) }
    }

    /// Charges a card. The names of some cards have a meaning: `declined`, `offline`, `lost` (charged, and the reply is
    /// lost) and `slow` (takes two seconds).
    pub(crate) async fn charge(
        &self,
        order: &Order,
        idempotency_key: &str,
    ) -> Result<Receipt, ProviderError> {
        match order.card.as_str() {
            "declined" => return Err(ProviderError::Declined),
            "offline" => return Err(ProviderError::NotSent),
            "slow" => tokio::time::sleep(Duration::from_secs(2)).await,
            _ => {}
        }
        let receipt = Receipt { cents: order.cents, idempotency_key: idempotency_key.to_owned() };
        self.note(&receipt).await.map_err(|_| ProviderError::Lost)?;
        if order.card == "lost" { Err(ProviderError::Lost) } else { Ok(receipt) }
    }

    /// The charge that was made under an idempotency key.
    pub(crate) async fn find(&self, idempotency_key: &str) -> std::io::Result<Option<Receipt>> {
        let ledger = match tokio::fs::read_to_string(&*self.ledger).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            ledger => ledger?,
        };
        let mut charges = ledger.lines().filter_map(|line| serde_json::from_str::<Receipt>(line).ok());
        Ok(charges.find(|receipt| receipt.idempotency_key == idempotency_key))
    }

    /// Appends one line, at once whole.
    async fn note(&self, receipt: &Receipt) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(receipt)?;
        line.push(b'\n');
        let mut ledger = tokio::fs::OpenOptions::new().create(true).append(true).open(&*self.ledger).await?;
        ledger.write_all(&line).await?;
        ledger.flush().await
    }
}
