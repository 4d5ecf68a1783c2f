//! The receiver of fences.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use quick_cache::unsync::Cache;
use sentinel_client::sentinel_core::{Address, Clock, SystemClock, Token};

use super::field::{Fence, SENTINEL_FENCE};
use super::key::FenceKey;
use super::verified::VerifiedFence;
use crate::problem::Problem;
use crate::signature::is_equal;

/// How far the receiver's clock may be ahead of the sender's.
const TOLERANCE: Duration = Duration::from_secs(60);

/// For how many addresses the highest token is remembered.
const REMEMBERED: usize = 16_384;

/// Verifies the fences of requests. Clones share what they remember.
///
/// ```
/// use sentinel_http::{FenceKey, FenceVerifier};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = [FenceKey::new("2026-11", "a secret of at least thirty-two bytes")?];
/// let fences = FenceVerifier::new("ledger", keys).required(); // a layer, for the routes that write
/// # let _ = fences; Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct FenceVerifier {
    trusted: Trusted,
    clock: Arc<dyn Clock>,
    seen: Arc<HighestTokens>,
}

/// What proves that a fence is genuine.
#[derive(Debug, Clone)]
enum Trusted {
    /// A signature with one of these keys, for this audience.
    Signature { audience: Arc<str>, keys: Arc<[FenceKey]> },
    /// The network.
    Network,
}

impl FenceVerifier {
    /// Accepts fences that were signed for this audience, with any of the keys. The audience is the name by which
    /// senders know this service, so that a fence for another service is refused.
    pub fn new(audience: impl AsRef<str>, keys: impl IntoIterator<Item = FenceKey>) -> Self {
        let (audience, keys) = (audience.as_ref().into(), keys.into_iter().collect());
        Self::of(Trusted::Signature { audience, keys })
    }

    /// Accepts any fence that is well-formed and has not expired, signed or not. Only for networks in which mutual TLS
    /// authenticates the sender: in any other network a stranger can state a token and so block a run.
    pub fn unsigned() -> Self {
        Self::of(Trusted::Network)
    }

    fn of(trusted: Trusted) -> Self {
        Self { trusted, clock: Arc::new(SystemClock), seen: Arc::new(HighestTokens::new()) }
    }

    /// Takes the time from this clock: for tests.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The fence of a request. **Effect:** remembers its token, if it is the highest for its address. **Errors:** the
    /// problem to answer with; see [`required`](Self::required).
    ///
    /// A fence that is accepted may still be stale: this process need not have seen the newer one. Only a check in the
    /// transaction of the write proves that there is none.
    pub fn verify(&self, headers: &HeaderMap) -> Result<VerifiedFence, Problem> {
        let mut fields = headers.get_all(SENTINEL_FENCE).iter();
        let field = fields.next().ok_or(Problem::FenceMissing)?;
        if fields.next().is_some() {
            return Err(Problem::FenceInvalid);
        }
        let fence = Fence::parse(field.as_bytes()).ok_or(Problem::FenceInvalid)?;
        if !self.is_genuine(&fence) || self.has_expired(&fence) {
            return Err(Problem::FenceInvalid);
        }
        let Fence { address, token, .. } = fence;
        match self.seen.is_newest(&address, token) {
            true => Ok(VerifiedFence { address, token }),
            false => Err(Problem::StaleFence),
        }
    }

    fn is_genuine(&self, fence: &Fence) -> bool {
        let (audience, keys) = match &self.trusted {
            Trusted::Signature { audience, keys } => (audience, keys),
            Trusted::Network => return true,
        };
        let Some(signed) = &fence.signed else { return false };
        keys.iter().filter(|key| key.id() == signed.key).any(|key| {
            // In a time that does not depend on where they differ.
            is_equal(&fence.signature(key, audience), &signed.signature).into()
        })
    }

    fn has_expired(&self, fence: &Fence) -> bool {
        let now = Duration::from_micros(self.clock.now().as_micros());
        now > Duration::from_secs(fence.expires).saturating_add(TOLERANCE)
    }
}

/// The highest token that was seen for each of the addresses that were used last. What is forgotten makes no write
/// unsafe: it makes a stale request reach the fenced table, which refuses it.
#[derive(Debug)]
struct HighestTokens(Mutex<Cache<Address, Token>>);

impl HighestTokens {
    fn new() -> Self {
        Self(Mutex::new(Cache::new(REMEMBERED)))
    }

    /// Whether no higher token was seen, and remembers this one.
    fn is_newest(&self, address: &Address, token: Token) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get(address) {
            Some(highest) if *highest > token => false,
            Some(highest) if *highest == token => true,
            _ => {
                seen.insert(address.clone(), token);
                true
            }
        }
    }
}
