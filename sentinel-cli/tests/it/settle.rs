//! `settle`: one command that decides about an uncertain key.

use crate::world::World;

each_store!(what_happened_is_replayed);
fn what_happened_is_replayed(world: World) {
    world.doubt("k");
    let settled =
        world.run(&["settle", "k", "--happened", "charged", "--reason", "ticket 7", "--worker", "ann"]);
    assert_eq!(settled.code(), 0, "{settled:?}");
    let op = settled.op();
    assert_eq!(world.once("k", &[], "touch ran").out(), "charged");
    assert!(!world.path("ran").exists());
    assert_eq!(world.inspect("k")["decided_by"], "ann");
    let history = world.run(&["history", "k", "--json"]).out();
    assert_eq!(history.matches("ticket 7").count(), 2, "{history}");
    let again = ["settle", "k", "--happened", "charged", "--op", &op, "--worker", "ann", "--json"];
    let repeated = world.run(&again).json();
    assert_eq!((repeated["state"].as_str(), repeated["op"].as_str()), (Some("completed"), Some(op.as_str())));
    assert_eq!(world.run(&["history", "k", "--json"]).out(), history, "repeating it changes nothing");
    let other = world.run(&["settle", "k", "--happened", "other"]);
    assert!(other.code() == 65 && other.err().contains("its result is final"), "{other:?}");
}

each_store!(what_did_not_happen_runs_again);
fn what_did_not_happen_runs_again(world: World) {
    world.doubt("k");
    let stale = world.run(&["settle", "k", "--did-not-happen", "--expect", "7"]);
    assert!(stale.code() == 65 && stale.err().contains("nothing was changed"), "{stale:?}");
    assert_eq!(world.run(&["settle", "k", "--did-not-happen", "--expect", &world.token("k")]).code(), 0);
    assert_eq!(world.once("k", &[], "echo ran").out(), "ran\n");
    assert_eq!(world.run(&["settle", "k", "--did-not-happen"]).code(), 65, "it is completed");
    let absent = world.run(&["settle", "absent", "--did-not-happen"]);
    assert!(absent.code() == 65 && absent.err().contains("has no record"), "{absent:?}");
}

each_store!(while_an_effect_may_land_nothing_is_changed);
fn while_an_effect_may_land_nothing_is_changed(world: World) {
    assert_eq!(world.once("k", &["--late-effects", "1h"], "exit 9").code(), 76);
    let before = world.run(&["history", "k"]).out();
    let early = world.run(&["settle", "k", "--did-not-happen"]);
    assert!(early.code() == 65 && early.err().contains("may still land until 20"), "{early:?}");
    assert_eq!(
        (world.run(&["history", "k"]).out(), &world.inspect("k")["state"]),
        (before, &"uncertain".into())
    );
    assert_eq!(world.run(&["settle", "k", "--happened", "x"]).code(), 0, "a success is recorded at any time");
}

each_store!(a_key_that_another_operator_holds_is_left_to_them);
fn a_key_that_another_operator_holds_is_left_to_them(world: World) {
    world.doubt("k");
    assert_eq!(world.run(&["reconcile", "k", "--worker", "ann"]).code(), 0);
    let held = world.run(&["settle", "k", "--happened", "x", "--worker", "bob"]);
    assert!(held.code() == 65 && held.err().contains("ann has been reconciling"), "{held:?}");
    assert!(held.err().contains("sentinel why k"), "{held:?}");
}

#[test]
fn a_response_comes_from_a_file_and_has_to_match_its_type() {
    let world = World::sqlite();
    std::fs::write(world.path("response"), b"\xff\x00").unwrap();
    world.doubt("k");
    let bad = world.run(&["settle", "k", "--happened", "{", "--content-type", "application/json"]);
    assert_eq!((bad.code(), &world.inspect("k")["state"]), (65, &"uncertain".into()), "{bad:?}");
    assert_eq!(world.run(&["settle", "k", "--happened-file", "missing"]).code(), 64);
    assert_eq!(world.run(&["settle", "k", "--happened-file", "response"]).code(), 0);
    assert_eq!(world.once("k", &[], "true").bytes(), b"\xff\x00");
}

#[test]
fn an_http_status_is_kept_as_the_code_of_the_result() {
    let world = World::sqlite();
    for (key, status, outcome, exit) in [("a", "201", "success", 0), ("b", "402", "failure", 1)] {
        world.doubt(key);
        let token = world.run(&["reconcile", key]).out();
        let decide = ["force-complete", key, "--token", token.trim(), "--status", status];
        let json = ["--response", "{}", "--content-type", "application/json"];
        let decided = world.run(&[&decide[..], &json[..]].concat());
        assert_eq!(decided.code(), 0, "{decided:?}");
        let record = world.inspect(key);
        assert_eq!(record["exit_code"].to_string(), status);
        assert_eq!(
            (&record["outcome"], &record["content_type"]),
            (&outcome.into(), &"application/json".into())
        );
        let replayed = world.once(key, &[], "echo ran");
        assert_eq!((replayed.code(), replayed.out().as_str()), (exit, "{}"));
    }
}
