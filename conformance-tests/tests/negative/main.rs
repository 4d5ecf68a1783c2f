//! Every broken store is rejected, by a named law; the whole one passes all of them.

use sentinel_conformance::negative::{sabotages, verdict};

#[test]
fn the_whole_store_passes() {
    for layer in ["laws", "matrix", "regressions"] {
        let broken = verdict(None, layer, 10);
        assert!(broken.is_empty(), "the store that nothing was taken from fails {broken:?}");
    }
}

#[test]
fn every_broken_store_fails_a_named_law() {
    let all = sabotages();
    assert!(all.len() >= 25);
    let mut passed = Vec::new();
    for sabotage in &all {
        let laws = verdict(Some(sabotage), "laws", 3);
        println!("{:<55} {laws:?}", sabotage.name);
        if laws.is_empty() {
            passed.push(sabotage.name);
        }
    }
    println!("{} of {} broken stores were rejected", all.len() - passed.len(), all.len());
    assert!(passed.is_empty(), "these broken stores pass every law: {passed:#?}");
}

#[test]
fn each_control_has_a_name_of_its_own() {
    let mut names: Vec<_> = sabotages().iter().map(|sabotage| sabotage.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
