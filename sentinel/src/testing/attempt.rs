//! What a function under test is handed.

use std::any::Any;
use std::sync::Arc;

use super::effects::Effects;
use super::fault::Place;
use super::world::World;
use crate::{CoordinationStore, Sentinel};

/// One process that runs the function: its client, and what outlives it.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub(super) world: Arc<World>,
    pub(super) sentinel: Sentinel,
    pub(super) number: u32,
}

impl Attempt {
    /// The client of this process, in the namespace `default`. Everything goes through it, or through
    /// [`store`](Self::store): a client of your own store would know nothing of the world.
    pub fn sentinel(&self) -> Sentinel {
        self.sentinel.clone()
    }

    /// The store of this process, for functions that make their client themselves.
    pub fn store(&self) -> Arc<dyn CoordinationStore> {
        self.sentinel.store().clone()
    }

    /// What must not happen twice. It outlives processes.
    pub fn effects(&self) -> Effects {
        Effects { world: self.world.clone() }
    }

    /// State of yours that outlives processes: a fake provider, say. Made once in each world.
    pub fn world<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        self.world.keep(make)
    }

    /// A place of yours, in the middle of the function, at which the process may crash.
    pub async fn place(&self, name: impl Into<String>) {
        let name = name.into();
        let crash = format!("at {name:?}");
        if self.world.meet(Place::Here(name)).await.is_some() {
            self.world.crash(&crash).await
        }
    }

    /// Which process of its world this is, counted from 1.
    pub fn number(&self) -> u32 {
        self.number
    }
}
