#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

fn report(settled: std::ops::Range<usize>, in_doubt: &[&str]) -> SurveyReport {
    let settled = settled.map(|n| (Namespace::new(format!("n{n:04}")).unwrap(), NamespaceSurvey::default()));
    let one = NamespaceSurvey { uncertain_keys: 1, ..Default::default() };
    let in_doubt = in_doubt.iter().map(|name| (Namespace::new(name).unwrap(), one));
    SurveyReport { namespaces: settled.chain(in_doubt).collect(), ..Default::default() }
}

#[test]
fn namespaces_in_doubt_get_their_labels_before_others() {
    let found = report(0..MAX_NAMESPACES, &["zebra", "zulu"]).by_label(&mut BTreeSet::new());
    assert_eq!(found.len(), MAX_NAMESPACES + 1, "and one for the others");
    assert_eq!((found["zebra"].uncertain_keys, found["zulu"].uncertain_keys), (1, 1));
    assert_eq!(found[OTHER_NAMESPACES], NamespaceSurvey::default());
}

#[test]
fn a_namespace_keeps_its_label_and_the_others_are_added_up() {
    let mut labelled = BTreeSet::new();
    report(0..MAX_NAMESPACES, &[]).by_label(&mut labelled);
    let found = report(0..MAX_NAMESPACES, &["zebra", "zulu"]).by_label(&mut labelled);
    assert!(found.contains_key("n0000") && !found.contains_key("zebra"));
    assert_eq!(found[OTHER_NAMESPACES].uncertain_keys, 2);
}
