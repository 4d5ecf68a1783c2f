//! `lease`: one holder at a time, and the command's own exit code.

use rustix::process::Signal;

use crate::world::{World, runs, until};

each_store!(the_exit_code_is_the_commands);
fn the_exit_code_is_the_commands(world: World) {
    for (script, code) in [("true", 0), ("exit 7", 7), ("exit 75", 75), ("kill -9 $$", 137), ("kill $$", 143)]
    {
        let ran = world.run(&["lease", "k", "--", "sh", "-c", script]);
        assert_eq!(ran.code(), code, "{script}: {}", ran.err());
        let seen = world.run(&["inspect", "k", "--kind", "lease", "--json"]).json();
        assert_eq!(seen["state"], "free", "released");
    }
    let ran = world.run(&["lease", "k", "--", "sh", "-c", "echo $SENTINEL_KEY; echo noise >&2"]);
    assert_eq!((ran.out().as_str(), ran.err().as_str()), ("k\n", "noise\n"));
}

each_store!(one_holds_it_at_a_time);
fn one_holds_it_at_a_time(world: World) {
    let script = "mkdir busy || echo overlap >> overlaps; echo x >> turns; sleep 0.02; rmdir busy";
    let arguments = ["lease", "k", "--wait", "60s", "--", "sh", "-c", script];
    let racing: Vec<_> = (0..12).map(|_| world.start(&arguments)).collect();
    for one in racing {
        let ran = one.ended();
        assert_eq!(ran.code(), 0, "{ran:?}");
    }
    assert_eq!(world.read("turns").lines().count(), 12);
    assert!(!world.path("overlaps").exists());
}

each_store!(a_lease_and_an_execution_of_one_key_are_apart);
fn a_lease_and_an_execution_of_one_key_are_apart(world: World) {
    let script = "echo x > held; until [ -e go ]; do sleep 0.05; done";
    let holder = world.start(&["lease", "k", "--", "sh", "-c", script]);
    until("it is held", || !world.read("held").is_empty());
    let other = world.run(&["lease", "k", "--", "touch", "ran"]);
    assert_eq!(other.code(), 75, "{other:?}");
    assert_eq!(world.run(&["lease", "k", "--wait", "200ms", "--", "touch", "ran"]).code(), 75);
    assert_eq!(world.once("k", &[], "echo done").out(), "done\n");
    std::fs::write(world.path("go"), "").unwrap();
    assert_eq!(holder.ended().code(), 0);
    assert!(!world.path("ran").exists());
}

each_store!(a_lost_lease_ends_the_command);
fn a_lost_lease_ends_the_command(world: World) {
    let script = "echo $$ > pid; exec sleep 600";
    let holder = world.start(&["lease", "k", "--ttl", "5s", "--", "sh", "-c", script]);
    until("it is held", || !world.read("pid").is_empty());
    let seen = world.run(&["inspect", "k", "--kind", "lease", "--json"]).json();
    let evict = ["evict", "k", "--kind", "lease", "--expect", &seen["token"].to_string()];
    assert_eq!(world.run(&evict).code(), 0);
    let ran = holder.ended();
    assert_eq!(ran.code(), 76, "{ran:?}");
    assert!(!runs(&world.read("pid")));
}

each_store!(a_holder_that_is_killed_is_followed_when_its_lease_lapses);
fn a_holder_that_is_killed_is_followed_when_its_lease_lapses(world: World) {
    let script = "echo $$ > pid; exec sleep 600";
    let holder = world.start(&["lease", "k", "--ttl", "2s", "--", "sh", "-c", script]);
    until("it is held", || !world.read("pid").is_empty());
    holder.send(Signal::KILL);
    let next = world.run(&["lease", "k", "--wait", "60s", "--", "echo", "mine"]);
    assert_eq!((next.code(), next.out().as_str()), (0, "mine\n"));
    until("the first command is dead", || !runs(&world.read("pid")));
}
