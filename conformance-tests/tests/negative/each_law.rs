//! Each law is needed: it rejects a flawed store.

use sentinel_conformance::negative::{Mutation, failed_laws, mutations};
use sentinel_conformance::{LAWS, Law};

/// The groups of laws that are checked here. For those before them, the lists of controls were written law by law.
const GROUPS: [&str; 15] = [
    "batches",
    "names",
    "pages",
    "results",
    "purges",
    "late_effects",
    "decodable",
    "causes",
    "bounded_events",
    "handles",
    "reopen",
    "long_times",
    "threads",
    "overlaps",
    "reopened",
];

/// A flawed store that the law rejects.
fn rejected_by<'a>(law: &Law, mutations: &'a [Mutation]) -> Option<&'a Mutation> {
    let is_it = |other: &Law| (other.group, other.name) == (law.group, law.name);
    // The newest controls are the likeliest.
    mutations.iter().rev().find(|mutation| !failed_laws(Some(mutation), is_it, 1).is_empty())
}

#[test]
fn each_law_rejects_a_flawed_store() {
    let (all, laws) = (mutations(), LAWS.iter().filter(|law| GROUPS.contains(&law.group)));
    let mut undetected = Vec::new();
    for law in laws {
        match rejected_by(law, &all) {
            Some(mutation) => println!("{:<55} {}", law.name, mutation.name),
            None => undetected.push(law.path()),
        }
    }
    assert!(undetected.is_empty(), "no flawed store fails {undetected:#?}");
}
