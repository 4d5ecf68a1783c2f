//! The argument of a function under test.

use std::any::Any;
use std::sync::Arc;

use super::effects::Effects;
use super::fault::FaultPoint;
use super::world::World;
use crate::Sentinel;
use crate::store::CoordinationStore;

/// One process that runs the function: its client, and the state that outlives it.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub(super) world: Arc<World>,
    pub(super) sentinel: Sentinel,
    pub(super) number: u32,
}

impl Attempt {
    /// The client of this process, in the namespace `default`. Use only this client or [`store`](Self::store): the test
    /// cannot inject faults into another store.
    pub fn sentinel(&self) -> Sentinel {
        self.sentinel.clone()
    }

    /// The store of this process, for functions that create their client themselves.
    pub fn store(&self) -> Arc<dyn CoordinationStore> {
        self.sentinel.store().clone()
    }

    /// The effects that must not happen twice. They outlive processes.
    pub fn effects(&self) -> Effects {
        Effects { world: self.world.clone() }
    }

    /// State of your own that outlives processes, such as a fake provider. It is created once in each world.
    pub fn world<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        self.world.keep(make)
    }

    /// Marks a point of your own within the function, at which the process may crash.
    pub async fn place(&self, name: impl Into<String>) {
        let name = name.into();
        let crash = format!("at {name:?}");
        if self.world.reach(FaultPoint::Marked(name)).await.is_some() {
            self.world.crash(&crash).await
        }
    }

    /// The number of this process in its world, counted from 1.
    pub fn number(&self) -> u32 {
        self.number
    }
}
