//! The sender of fences.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use sentinel_client::Run;
use sentinel_client::sentinel_core::{Address, Clock, SystemClock, Token};

use super::field::{Fence, Signed};
use super::key::FenceKey;

/// How long after the hard deadline of its run a fence is still accepted: for requests that are on their way, and for
/// clocks that differ.
const EXPIRES_AFTER: Duration = Duration::from_secs(60);

/// Makes the field [`SENTINEL_FENCE`](super::SENTINEL_FENCE) of requests that runs send. The middleware for `reqwest`
/// uses it; use it directly with another client.
///
/// ```
/// use sentinel_http::{FenceKey, FenceSigner, SENTINEL_FENCE};
///
/// # fn example(run: sentinel_client::Run) -> Result<(), Box<dyn std::error::Error>> {
/// let signer = FenceSigner::new(FenceKey::new("2026-11", "a secret of at least thirty-two bytes")?);
/// // The receiver is configured with the name `ledger`.
/// let fence = signer.sign(&run, "ledger");
/// let request = http::Request::post("https://ledger.internal/entries").header(SENTINEL_FENCE, fence);
/// # let _ = request; Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct FenceSigner {
    key: Option<FenceKey>,
    clock: Arc<dyn Clock>,
}

impl FenceSigner {
    /// Signs with this key.
    pub fn new(key: FenceKey) -> Self {
        Self { key: Some(key), clock: Arc::new(SystemClock) }
    }

    /// Does not sign, for networks in which mutual TLS authenticates the sender.
    /// [`FenceVerifier::unsigned`](super::FenceVerifier::unsigned) accepts such fences,
    /// [`FenceVerifier::new`](super::FenceVerifier::new) refuses them.
    pub fn unsigned() -> Self {
        Self { key: None, clock: Arc::new(SystemClock) }
    }

    /// Takes the time from this clock: for tests.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The field's value for a request of this run. `audience` is the name that the receiver is configured with. The
    /// fence expires 60 s after the hard deadline of the run. No safety depends on that: it limits how long a captured
    /// field is useful.
    pub fn sign(&self, run: &Run, audience: &str) -> HeaderValue {
        self.sign_for(run.address(), run.token(), audience, run.hard_remaining())
    }

    /// The same for a token that comes from elsewhere, of a run or lease whose hard deadline is `remaining` away.
    pub fn sign_for(
        &self,
        address: &Address,
        token: Token,
        audience: &str,
        remaining: Duration,
    ) -> HeaderValue {
        let now = Duration::from_micros(self.clock.now().as_micros());
        let expires = now.saturating_add(remaining).saturating_add(EXPIRES_AFTER).as_secs();
        let mut fence = Fence { address: address.clone(), token, expires, signed: None };
        fence.signed = self.key.as_ref().map(|key| Signed {
            key: key.id().to_owned(),
            signature: fence.signature(key, audience).to_vec(),
        });
        fence.to_value()
    }
}
