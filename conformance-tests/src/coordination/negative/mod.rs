//! Negative controls: stores with one flaw each. A suite that passes one of them checks less than it claims.
//!
//! A [`Mutation`] takes one rule away from the kernel: it shows a guard a wrong record, request or time, changes what
//! is written or replied, or adds a flaw to the store around it. [`flawed`] opens a store with it; [`failed_laws`]
//! returns the laws that detect it.

use std::sync::Arc;

use crate::coordination::harness::DynHarness;
use crate::coordination::suite::{LAWS, Law};
use crate::messages::quietly;
use crate::sizes::Sizes;

mod batches;
mod causes;
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

pub use mutation::{Mutation, Snapshot, StorageFault, Written};
pub use store::FlawedStore;

/// All of them.
pub fn mutations() -> Vec<Mutation> {
    let whole = [workers::all(), operators::all(), storage::all(), handles::all(), long::all(), steps::all()]
        .concat();
    [
        whole,
        batches::all(),
        names::all(),
        pages::all(),
        results::all(),
        purges::all(),
        effects::all(),
        causes::all(),
    ]
    .concat()
}

/// A store with one rule removed; with all rules, for none.
pub fn flawed(mutation: Option<Mutation>) -> Arc<dyn DynHarness> {
    match mutation.as_ref().and_then(|mutation| mutation.build) {
        Some(build) => build(),
        None => Arc::new(FlawedStore::new(mutation)),
    }
}

/// Which of some laws a store breaks, at most `limit`. The messages of the laws are not printed.
pub fn failed_laws(
    mutation: Option<&Mutation>,
    which: impl Fn(&Law) -> bool,
    limit: usize,
) -> Vec<&'static Law> {
    let breaks = |law: &&Law| {
        let (law, harness) = (**law, flawed(mutation.cloned()));
        let check = move || law.check(harness, Sizes { sequences: 1, histories: 1, ..Sizes::DEFAULT });
        quietly(check).is_err()
    };
    LAWS.iter().filter(|law| which(law)).filter(breaks).take(limit).collect()
}
