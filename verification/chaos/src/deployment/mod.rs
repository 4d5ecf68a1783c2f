//! Real servers, or a file, and what can happen to them.

mod failover;
mod kind;
mod network;
mod postgres;
mod redis;
mod sqlite;

use rand::rngs::StdRng;

use crate::checker::Kept;
use crate::plan::Plan;
use crate::workers::Workers;

pub(crate) use kind::{Flavour, Kind};

/// Where a schedule takes place.
pub(crate) trait Deployment: Send {
    /// What workers connect to.
    fn url(&self) -> String;

    /// What it is, in a few words.
    fn name(&self) -> String;

    /// A schedule begins. The generator decides what varies between schedules.
    fn prepare(&mut self, _: &mut StdRng) {}

    /// Injects a fault, and ends it before it returns; returns what it was.
    fn inject(&mut self, workers: &mut Workers, rng: &mut StdRng) -> String;

    /// Faults have stopped: does what only an operator may do.
    fn recover(&mut self, _: &Plan) {}

    /// What is left of all that was acknowledged since the schedule began.
    fn kept(&self) -> Kept {
        Kept::All
    }

    /// The deployment cannot be used for another schedule.
    fn is_spent(&self) -> bool {
        false
    }
}
