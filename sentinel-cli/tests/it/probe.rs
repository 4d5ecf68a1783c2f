//! `probe`: a command decides about uncertain keys.

use rustix::process::Signal;

use crate::world::{World, until};

each_store!(an_output_with_exit_code_0_is_the_result);
fn an_output_with_exit_code_0_is_the_result(world: World) {
    world.doubt("k");
    let token = world.token("k");
    let variables = "$SENTINEL_KEY_NAMESPACE $SENTINEL_KEY $SENTINEL_TOKEN $SENTINEL_IDEMPOTENCY_KEY";
    let script = format!("echo \"{variables}\" > seen; echo charged");
    let ran = world.run(&["probe", "--worker", "psp", "--", "sh", "-c", &script]);
    assert_eq!((ran.code(), ran.out().as_str()), (0, "1 key decided\n"), "{ran:?}");
    assert_eq!(world.once("k", &[], "touch ran").out(), "charged\n");
    let seen = world.inspect("k");
    assert_eq!(seen["decided_by"], "psp");
    let snl = seen["idempotency_key"].as_str().unwrap();
    assert_eq!(world.read("seen"), format!("default k {token} {snl}\n"));
    let history = world.run(&["history", "k"]).out();
    assert!(history.contains("sh ended with exit code 0"), "{history}");
    let none = world.run(&["probe", "--json", "--", "touch", "ran"]);
    assert_eq!((none.code(), none.json()["decided"].as_u64()), (0, Some(0)));
    assert!(!world.path("ran").exists(), "nothing is uncertain");
}

each_store!(exit_code_3_resets_a_key_if_two_runs_agree);
fn exit_code_3_resets_a_key_if_two_runs_agree(world: World) {
    world.doubt("k");
    let ran = world.run(&["probe", "--grace", "50ms", "--", "sh", "-c", "echo look >> looks; exit 3"]);
    assert_eq!((ran.code(), ran.out().as_str()), (0, "1 key decided\n"), "{ran:?}");
    assert_eq!(world.read("looks"), "look\nlook\n");
    assert_eq!(world.once("k", &[], "echo ran").out(), "ran\n");
}

#[test]
fn before_the_effects_have_landed_exit_code_3_decides_nothing() {
    let world = World::sqlite();
    assert_eq!(world.once("k", &["--late-effects", "1h"], "exit 9").code(), 76);
    let ran = world.run(&["probe", "--grace", "50ms", "--", "sh", "-c", "exit 3"]);
    assert_eq!((ran.code(), ran.out().as_str()), (0, "0 keys decided\n"), "{ran:?}");
    assert_eq!(world.inspect("k")["state"], "uncertain");
}

#[test]
fn two_runs_that_differ_reset_nothing() {
    let world = World::sqlite();
    world.doubt("k");
    let script = "if [ -e looked ]; then exit 9; fi; touch looked; exit 3";
    let name = ["probe", "--worker", "psp", "--grace", "50ms", "--", "sh", "-c"];
    let ran = world.run(&[&name[..], &[script]].concat());
    assert_eq!(ran.out(), "0 keys decided\n", "{ran:?}");
    assert_eq!(world.inspect("k")["state"], "reconciling");
    let ran = world.run(&[&name[..], &["exit 3"]].concat());
    assert_eq!(ran.out(), "1 key decided\n", "the next pass of this operator continues: {ran:?}");
}

#[test]
fn any_other_end_leaves_the_key_uncertain() {
    let world = World::sqlite();
    world.doubt("k");
    let ends: [&[&str]; 5] = [
        &["sh", "-c", "exit 1"],
        &["sh", "-c", "kill -9 $$"],
        &["no-such-command"],
        &["sh", "-c", "sleep 60"],
        &["sh", "-c", "head -c 1100000 /dev/zero"],
    ];
    for end in ends {
        let arguments = [&["probe", "--timeout", "400ms", "--"], end].concat();
        let ran = world.run(&arguments);
        assert_eq!((ran.code(), ran.out().as_str()), (0, "0 keys decided\n"), "{end:?}: {ran:?}");
        assert!(ran.err().contains("still unknown"), "{end:?}: {ran:?}");
        assert_eq!(world.inspect("k")["state"], "uncertain", "{end:?}");
    }
    let json = ["probe", "--content-type", "application/json", "--", "echo", "no json"];
    let ran = world.run(&json);
    assert!(ran.out() == "0 keys decided\n" && ran.err().contains("not valid JSON"), "{ran:?}");
}

each_store!(a_loop_decides_keys_as_they_come_and_ends_with_a_signal);
fn a_loop_decides_keys_as_they_come_and_ends_with_a_signal(world: World) {
    world.run(&["init"]);
    world.doubt("a");
    let running = world.start(&["probe", "--every", "50ms", "--", "echo", "found"]);
    until("the first is decided", || world.inspect("a")["state"] == "completed");
    world.doubt("b");
    until("the second is decided", || world.inspect("b")["state"] == "completed");
    let ended = running.ended_by(Signal::TERM);
    assert_eq!(ended.code(), 128 + 15, "{ended:?}");
    assert!(ended.out().contains("1 key decided\n"), "{ended:?}");
}
