//! Death and sleep at any moment, and signals.

use rustix::process::Signal;

use crate::world::{World, bit, mask_in, runs, until};

const SLEEPS: &str =
    "echo $$ > leader; sleep 600 & echo $! > child; echo run >> effects; wait; echo late >> effects";

fn processes(world: &World) -> [String; 2] {
    until("the command runs", || !world.read("effects").is_empty());
    [world.read("leader"), world.read("child")]
}

each_store!(the_command_is_killed_with_the_program_and_the_key_is_uncertain);
fn the_command_is_killed_with_the_program_and_the_key_is_uncertain(world: World) {
    let running = world.start(&["once", "k", "--ttl", "1s", "--", "sh", "-c", SLEEPS]);
    let [leader, child] = processes(&world);
    running.send(Signal::KILL);
    until("the command is dead", || !runs(&leader));
    until("its child is dead", || !runs(&child));
    until("the key is in doubt", || world.inspect("k")["state"] == "uncertain");
    assert_eq!(world.once("k", &["--wait", "60s"], "touch ran").code(), 76);
    assert_eq!(world.read("effects"), "run\n");

    let token = world.run(&["reconcile", "k"]).out();
    let reset = ["reset-to-claimed", "k", "--token", token.trim(), "--accept-overlap"];
    assert_eq!(world.run(&reset).code(), 0);
    assert_eq!(world.once("k", &[], "echo ok").out(), "ok\n");
}

each_store!(a_program_that_is_stopped_past_the_hard_deadline_leaves_nothing_running);
fn a_program_that_is_stopped_past_the_hard_deadline_leaves_nothing_running(world: World) {
    let script = "trap '' TERM; ".to_owned() + SLEEPS;
    let arguments = ["once", "k", "--ttl", "1s", "--hard-ttl", "4s", "--", "sh", "-c", &script];
    let running = world.start(&arguments);
    let [leader, child] = processes(&world);
    running.send(Signal::STOP);
    until("the group is gone although the program is stopped", || !runs(&leader) && !runs(&child));
    assert_eq!(world.once("k", &[], "touch ran").code(), 76);
    running.send(Signal::CONT);
    let ran = running.ended();
    assert_eq!(ran.code(), 76, "{ran:?}");
    assert!(!world.path("ran").exists() && world.read("effects") == "run\n");
}

each_store!(a_program_that_was_stopped_past_the_ttl_still_records_the_result);
fn a_program_that_was_stopped_past_the_ttl_still_records_the_result(world: World) {
    // When it goes on, the program has lost its authority and reports that; the command ends with 0 all the same.
    let script = "trap '' TERM; echo run >> effects; until [ -e go ]; do sleep 0.05; done; echo done";
    let running = world.start(&["once", "k", "--ttl", "1s", "--", "sh", "-c", script]);
    until("it runs", || !world.read("effects").is_empty());
    running.send(Signal::STOP);
    until("others doubt it", || world.inspect("k")["state"] == "uncertain");
    std::fs::write(world.path("go"), "").unwrap();
    running.send(Signal::CONT);
    let ran = running.ended();
    assert_eq!((ran.code(), ran.out().as_str()), (0, "done\n"), "{ran:?}");
    assert_eq!(world.once("k", &[], "touch ran").out(), "done\n");
    assert_eq!(world.read("effects"), "run\n");
}

each_store!(at_the_hard_deadline_the_group_is_gone);
fn at_the_hard_deadline_the_group_is_gone(world: World) {
    for (command, key) in [("once", "o"), ("lease", "l")] {
        let _ = std::fs::remove_file(world.path("effects"));
        let script = "trap '' TERM; ".to_owned() + SLEEPS;
        let arguments = [command, key, "--ttl", "1s", "--hard-ttl", "4s", "--", "sh", "-c", &script];
        let running = world.start(&arguments);
        let [leader, child] = processes(&world);
        let ran = running.ended();
        assert_eq!(ran.code(), 76, "{ran:?}");
        until("the group is gone", || !runs(&leader) && !runs(&child));
    }
    assert_eq!(world.inspect("o")["state"], "uncertain");
}

each_store!(sigterm_comes_before_the_hard_deadline);
fn sigterm_comes_before_the_hard_deadline(world: World) {
    let script = "trap 'echo saved; exit 0' TERM; echo $$ > pid; while :; do sleep 0.05; done";
    let ran = world.once("k", &["--ttl", "1s", "--hard-ttl", "8s"], script);
    assert_eq!((ran.code(), ran.out().as_str()), (0, "saved\n"), "{ran:?}");
    assert_eq!(world.once("k", &[], "true").out(), "saved\n");
}

each_store!(signals_go_to_the_whole_group);
fn signals_go_to_the_whole_group(world: World) {
    for (signal, name) in [(Signal::INT, "INT"), (Signal::TERM, "TERM")] {
        // The inner shell is a child in the foreground; the outer one waits for it, and has its own trap.
        let inner = format!(
            "trap \"echo {name} >> got; exit 0\" {name}; touch ready-{name}; while :; do sleep 0.05; done"
        );
        let script = format!("trap : {name}; sh -c '{inner}'; echo stopped");
        let running = world.start(&["once", name, "--", "sh", "-c", &script]);
        until("it runs", || world.path(&format!("ready-{name}")).exists());
        running.send(signal);
        let ran = running.ended();
        assert_eq!((ran.code(), ran.out().as_str()), (0, "stopped\n"), "{ran:?}");
        assert!(world.read("got").contains(name));
    }
    let running = world.start(&["once", "k", "--", "sh", "-c", "echo x > runs; exec sleep 600"]);
    until("it runs", || !world.read("runs").is_empty());
    running.send(Signal::TERM);
    assert_eq!(running.ended().code(), 76, "death by a signal is doubt");
}

each_store!(a_signal_ends_the_wait_and_nothing_has_run);
fn a_signal_ends_the_wait_and_nothing_has_run(world: World) {
    for (command, signal, code) in [("once", Signal::INT, 130), ("lease", Signal::TERM, 143)] {
        let holder = world.start(&[command, "k", "--", "sh", "-c", "echo x > held; exec sleep 600"]);
        until("it is held", || !world.read("held").is_empty());
        let waiting = world.start(&[command, "k", "--wait", "1h", "--", "touch", "ran"]);
        let pid = waiting.id();
        until("it has the store open, and its handlers", || world.has_store_open(&waiting) && catches(pid));
        waiting.send(signal);
        let ran = waiting.ended();
        assert_eq!((ran.code(), ran.out().as_str()), (code, ""), "{ran:?}");
        holder.send(Signal::KILL);
        holder.ended();
        std::fs::remove_file(world.path("held")).unwrap();
    }
    assert!(!world.path("ran").exists());
}

/// Whether SIGINT and SIGTERM have handlers.
pub(crate) fn catches(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = mask_in(&status, "SigCgt:");
    let both = bit(Signal::INT) | bit(Signal::TERM);
    mask & both == both
}

each_store!(background_processes_of_an_uncertain_run_are_ended);
fn background_processes_of_an_uncertain_run_are_ended(world: World) {
    let script = "sleep 600 & echo $! > child; exit 9";
    assert_eq!(world.once("k", &[], script).code(), 76);
    assert!(!runs(&world.read("child")), "a reset may follow at once, so nothing may be left");
}
