//! What people on call ask of a whole store.

use crate::world::{Ran, World};

/// The namespaces and keys of a list, in its order.
fn listed(world: &World, arguments: &[&str]) -> Vec<(String, String)> {
    let listed = world.run(&[&["list", "--json"], arguments].concat());
    assert_eq!(listed.code(), 0, "{listed:?}");
    let word = |view: &serde_json::Value, name: &str| view[name].as_str().unwrap().to_owned();
    let views = listed.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>();
    views.iter().map(|view| (word(view, "namespace"), word(view, "key"))).collect()
}

/// A key of a namespace in doubt, with nothing that lands late.
fn doubt_in(world: &World, namespace: &str, key: &str) {
    let ran = world.once(key, &["--namespace", namespace, "--late-effects", "0s"], "exit 9");
    assert_eq!(ran.code(), 76, "{ran:?}");
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(namespace, key)| ((*namespace).to_owned(), (*key).to_owned())).collect()
}

each_store!(what_is_open_in_any_namespace_comes_oldest_first);
fn what_is_open_in_any_namespace_comes_oldest_first(world: World) {
    doubt_in(&world, "pay", "z");
    doubt_in(&world, "pay.eu", "a");
    doubt_in(&world, "mail", "m");
    assert_eq!(world.once("done", &["--namespace", "mail"], "true").code(), 0);
    let taken = world.run(&["reconcile", "z", "--namespace", "pay"]);
    assert_eq!(taken.code(), 0, "{taken:?}");
    // That an operator took it does not make the doubt younger.
    let all = pairs(&[("pay", "z"), ("pay.eu", "a"), ("mail", "m")]);
    assert_eq!(listed(&world, &["--all-namespaces", "--state", "open"]), all);
    assert_eq!(listed(&world, &["--all-namespaces", "--state", "uncertain"]), all[1..]);
    assert_eq!(listed(&world, &["--all-namespaces", "--state", "reconciling"]), all[..1]);
    assert_eq!(listed(&world, &["--namespace", "mail", "--state", "open"]), all[2..]);
    assert_eq!(listed(&world, &["--all-namespaces", "--state", "open", "--limit", "1"]), all[..1]);
    assert_eq!(listed(&world, &["--all-namespaces", "--state", "open", "--older-than", "1h"]), []);
    let text = world.run(&["list", "--all-namespaces", "--state", "open"]).out();
    assert!(text.trim_start().starts_with("NAMESPACE") && text.contains("pay.eu"), "{text}");
}

each_store!(a_list_for_a_monitor_fails_if_there_is_anything);
fn a_list_for_a_monitor_fails_if_there_is_anything(world: World) {
    let open = ["list", "--all-namespaces", "--state", "open", "--fail-if-any"];
    let any: fn(&Ran) -> i32 = Ran::code;
    assert_eq!(world.once("done", &[], "true").code(), 0);
    let none = world.run(&open);
    assert_eq!(any(&none), 0);
    assert!(none.err().contains("no such records in any namespace"), "{none:?}");
    doubt_in(&world, "pay", "k");
    assert_eq!(any(&world.run(&open)), 1);
    assert_eq!(any(&world.run(&["list", "--state", "completed", "--fail-if-any"])), 1);
    assert_eq!(any(&world.run(&["list", "--state", "claimed", "--fail-if-any"])), 0);
    let of_one = world.run(&["list", "--namespace", "pya", "--state", "open", "--fail-if-any"]);
    assert_eq!(any(&of_one), 0);
    assert!(of_one.err().contains("no such records in namespace \"pya\""), "{of_one:?}");
}

each_store!(the_namespaces_are_named);
fn the_namespaces_are_named(world: World) {
    assert_eq!(world.once("k", &["--namespace", "pay"], "true").code(), 0);
    doubt_in(&world, "pay.eu", "k");
    let named = world.run(&["namespaces"]).out();
    assert_eq!(named.lines().filter(|name| name.starts_with("pay")).collect::<Vec<_>>(), ["pay", "pay.eu"]);
    let doctor = world.run(&["doctor"]);
    assert!(doctor.out().contains("pay, pay.eu"), "{doctor:?}");
}

each_store!(a_record_is_found_by_its_idempotency_key);
fn a_record_is_found_by_its_idempotency_key(world: World) {
    doubt_in(&world, "pay", "a");
    assert_eq!(world.once("b", &["--namespace", "mail"], "true").code(), 0);
    let key = |namespace: &str, key: &str| {
        let record = world.run(&["inspect", key, "--namespace", namespace, "--json"]).json();
        record["idempotency_key"].as_str().unwrap().to_owned()
    };
    let (a, b) = (key("pay", "a"), key("mail", "b"));
    assert_eq!(listed(&world, &["--all-namespaces", "--idempotency-key", &a]), pairs(&[("pay", "a")]));
    assert_eq!(listed(&world, &["--all-namespaces", "--idempotency-key", &b]), pairs(&[("mail", "b")]));
    assert_eq!(listed(&world, &["--namespace", "mail", "--idempotency-key", &a]), []);
    let none = world.run(&["list", "--idempotency-key", &a]);
    assert!(none.code() == 0 && none.err().contains("no record has this idempotency key"), "{none:?}");
    assert_eq!(world.run(&["settle", "a", "--namespace", "pay", "--did-not-happen"]).code(), 0);
    let found = ["--namespace", "pay", "--idempotency-key", &a];
    assert_eq!(listed(&world, &found), pairs(&[("pay", "a")]), "a reset keeps it");
    let text = world.run(&[&["list"], &found[..]].concat()).out();
    assert!(text.contains(&format!("idempotency key   {a}")), "{text}");
    assert_eq!(world.run(&[&["list"], &found[..], &["--fail-if-any"]].concat()).code(), 1);
}

#[test]
fn a_list_of_all_namespaces_is_of_executions_in_doubt() {
    let world = World::sqlite();
    let of_all: [&[&str]; 5] = [
        &["--all-namespaces"],
        &["--all-namespaces", "--state", "completed"],
        &["--older-than", "5m"],
        &["--state", "open", "--kind", "lease"],
        &["--state", "open", "--after", "k"],
    ];
    for arguments in of_all {
        let listed = world.run(&[&["list"], arguments].concat());
        assert_eq!(listed.code(), 64, "{arguments:?}: {listed:?}");
    }
}
