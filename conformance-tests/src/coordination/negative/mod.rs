//! Negative controls: stores that are broken in one way each. A suite that passes one of them checks less than it says.
//!
//! A [`Mutation`] takes one rule away from the kernel: it shows a guard something else than the truth, spoils what is
//! written or answered, or breaks the store around it. [`broken`] opens a store with it; [`verdict`] tells which laws
//! noticed.

use std::sync::Arc;

use crate::coordination::harness::Bench;
use crate::coordination::suite::{LAWS, Law};
use crate::messages::quietly;
use crate::sizes::Sizes;

mod batches;
mod effects;
mod handles;
mod handles_store;
mod long;
mod mutation;
mod names;
mod operators;
mod pages;
mod purges;
mod results;
mod steps;
mod storage;
mod store;
mod workers;

pub use mutation::{Mutation, Seen, StorageFault, Written};
pub use store::BrokenStore;

/// All of them.
pub fn mutations() -> Vec<Mutation> {
    let whole = [workers::all(), operators::all(), storage::all(), handles::all(), long::all(), steps::all()]
        .concat();
    [whole, batches::all(), names::all(), pages::all(), results::all(), purges::all(), effects::all()]
        .concat()
}

/// A store with one rule taken away; without any, for none.
pub fn broken(mutation: Option<Mutation>) -> Arc<dyn Bench> {
    match mutation.as_ref().and_then(|mutation| mutation.build) {
        Some(build) => build(),
        None => Arc::new(BrokenStore::new(mutation)),
    }
}

/// Which of some laws a store breaks, at most `limit`. Quiet: what a law has to say is not printed.
pub fn verdict(mutation: Option<&Mutation>, which: impl Fn(&Law) -> bool, limit: usize) -> Vec<&'static Law> {
    let breaks = |law: &&Law| {
        let (law, bench) = (**law, broken(mutation.cloned()));
        let check = move || law.check(bench, Sizes { sequences: 1, histories: 1, ..Sizes::DEFAULT });
        quietly(check).is_err()
    };
    LAWS.iter().filter(|law| which(law)).filter(breaks).take(limit).collect()
}
