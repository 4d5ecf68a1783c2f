//! Real servers, or a file, and what can happen to them.

mod failover;
mod kind;
mod network;
mod postgres;
mod redis;
mod sqlite;

use rand::rngs::StdRng;

use crate::crew::Crew;
use crate::plan::Plan;
use crate::verdict::Kept;

pub(crate) use kind::{Flavour, Kind};

/// Where a schedule takes place.
pub(crate) trait Deployment: Send {
    /// What workers connect to.
    fn url(&self) -> String;

    /// What it is, in a few words.
    fn name(&self) -> String;

    /// A schedule begins: which way it comes, the dice say.
    fn prepare(&mut self, _: &mut StdRng) {}

    /// Breaks something, and mends it before it returns; says what it was.
    fn strike(&mut self, crew: &mut Crew, rng: &mut StdRng) -> String;

    /// All is calm: somebody on call looks, and puts right what only they may.
    fn look(&mut self, _: &Plan) {}

    /// What is left of all that was acknowledged since the schedule began.
    fn kept(&self) -> Kept {
        Kept::All
    }

    /// What remains of it is of no use for another schedule.
    fn is_spent(&self) -> bool {
        false
    }
}
