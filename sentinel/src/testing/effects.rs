//! The effects that must not happen twice.

use std::fmt;
use std::sync::Arc;

use super::fault::{Fault, FaultPoint};
use super::world::World;

/// The effects of a world. Your fake calls them where the real function would charge, send or deploy.
///
/// An effect is a request to another system. The process may crash before or after it, its request or its reply may be
/// lost, and it may land only after the caller's timeout. In all these cases the caller only gets [`NoAnswer`].
#[derive(Debug, Clone)]
pub struct Effects {
    pub(super) world: Arc<World>,
}

/// No answer arrived: the effect may or may not have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAnswer;

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no answer arrived: the effect may or may not have happened")
    }
}

impl std::error::Error for NoAnswer {}

impl Effects {
    /// Causes an effect. The key identifies what must not happen twice; it need not be a key of Sentinel.
    pub async fn happen(&self, key: impl Into<String>) -> Result<(), NoAnswer> {
        self.request(key.into(), None).await
    }

    /// Causes an effect at a system that supports idempotency keys: under the same idempotency key it happens once,
    /// however often it is requested.
    pub async fn happen_under(
        &self,
        key: impl Into<String>,
        idempotency_key: impl Into<String>,
    ) -> Result<(), NoAnswer> {
        self.request(key.into(), Some(idempotency_key.into())).await
    }

    /// How often the effect has happened so far, as a probe would find it. An effect that has not landed yet is not
    /// counted.
    pub fn count(&self, key: &str) -> u32 {
        self.world.lands();
        self.world.state().effects.get(key).copied().unwrap_or_default()
    }

    async fn request(&self, key: String, under: Option<String>) -> Result<(), NoAnswer> {
        self.world.acts(&key);
        let fault = self.world.reach(FaultPoint::Effect(key.clone())).await;
        match fault {
            Some(Fault::CrashBefore) => {
                return self.world.crash(&format!("before it requests the effect on {key:?}")).await;
            }
            Some(Fault::LoseRequest) => {
                self.world.record(format!("requests the effect on {key:?}; the request is lost"));
                return Err(NoAnswer);
            }
            Some(Fault::LandLate) => {
                self.world.lands_late(key, under);
                return Err(NoAnswer);
            }
            _ => self.world.happens(key, under),
        }
        match fault {
            Some(Fault::CrashAfter) => self.world.crash("before the reply arrives").await,
            Some(Fault::LoseReply) => {
                self.world.record("its reply is lost");
                Err(NoAnswer)
            }
            _ => Ok(()),
        }
    }
}
