//! What is left of a command's process group when its first process has ended, and what a stopped command does.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::world::{
    SENTINEL, Started, World, is_stopped, namespace, runs, send, until, with_default_signals,
};

/// Starts work in the background that ignores the usual requests to end, and writes its number down.
const STUBBORN: &str = "(trap '' TERM INT HUP; exec sleep 600) & echo $! > child";

#[test]
fn a_lease_is_kept_until_the_background_of_its_command_has_ended() {
    let world = World::sqlite();
    let script = "(until [ -e go ]; do sleep 0.05; done; echo end >> log) & echo $$ > leader; exit 3";
    let holder = world.start(&["lease", "k", "--ttl", "2s", "--", "sh", "-c", script]);
    until("the first process has started", || world.read("leader").ends_with('\n'));
    until("the first process has ended", || !runs(&world.read("leader")));
    let other = world.run(&["lease", "k", "--", "touch", "ran"]);
    assert_eq!(other.code(), 75, "{other:?}");
    let next = world.start(&["lease", "k", "--wait", "60s", "--", "sh", "-c", "echo next >> log"]);
    std::fs::write(world.path("go"), "").unwrap();
    let ran = holder.ended();
    assert_eq!(ran.code(), 3, "{ran:?}");
    assert_eq!(next.ended().code(), 0);
    assert_eq!(world.read("log"), "end\nnext\n");
    assert!(!world.path("ran").exists());
}

#[test]
fn a_lease_ends_what_a_killed_command_left_behind() {
    for (left, end, code) in [("sleep 600 & echo $! > child", "kill -9 $$", 137), (STUBBORN, "kill $$", 143)]
    {
        let world = World::sqlite();
        let ran = world.run(&["lease", "k", "--", "sh", "-c", &format!("{left}; {end}")]);
        assert_eq!(ran.code(), code, "{ran:?}");
        assert!(!runs(&world.read("child")), "{left}");
        assert_eq!(world.run(&["lease", "k", "--", "true"]).code(), 0, "it was given back");
    }
}

#[test]
fn a_signal_ends_what_a_lease_waits_for() {
    let world = World::sqlite();
    let script = format!("{STUBBORN}; echo $$ > leader; exit 0");
    let holder = world.start(&["lease", "k", "--", "sh", "-c", &script]);
    until("the first process has started", || world.read("leader").ends_with('\n'));
    until("only its background runs", || !runs(&world.read("leader")));
    holder.send(Signal::INT);
    let ran = holder.ended();
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert!(!runs(&world.read("child")));
    assert_eq!(world.run(&["lease", "k", "--", "true"]).code(), 0);
}

/// The program with its notes in a file.
fn with_notes(world: &World, arguments: &str, script: &str) -> Started {
    std::fs::write(world.path("script"), script).unwrap();
    let mut shell = with_default_signals("sh");
    world.dress(shell.args(["-c", &format!("exec {SENTINEL} {arguments} -- sh ./script 2> notes")]));
    world.start_command(shell)
}

#[test]
fn a_signal_that_comes_while_the_background_is_waited_for_ends_it() {
    let world = World::sqlite();
    let holder = with_notes(&world, "lease k --hard-ttl 60s", &format!("{STUBBORN}; exit 0"));
    until("the background is waited for", || world.read("notes").contains("the lease is kept"));
    holder.send(Signal::INT);
    let ran = holder.ended();
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert!(!runs(&world.read("child")));
}

#[test]
fn the_background_of_a_command_that_a_signal_has_ended_is_not_waited_for() {
    let world = World::sqlite();
    let script = format!("{STUBBORN}; trap 'exit 3' INT; echo $$ > leader; while :; do sleep 0.05; done");
    let holder = with_notes(&world, "lease k --hard-ttl 60s", &script);
    until("it runs", || world.read("leader").ends_with('\n'));
    holder.send(Signal::INT);
    let ran = holder.ended();
    assert_eq!(ran.code(), 3, "{ran:?}");
    assert!(!runs(&world.read("child")) && !world.read("notes").contains("the lease is kept"));
}

#[test]
fn background_processes_are_ended_if_a_successful_command_was_asked_to_end() {
    let world = World::sqlite();
    let script = "(trap '' TERM; exec sleep 600 > out 2>&1) & echo $! > child; \
                  trap 'exit 0' TERM; while :; do sleep 0.05; done";
    let ran = world.once("k", &["--ttl", "1s", "--hard-ttl", "4s"], script);
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert!(!runs(&world.read("child")));
}

#[test]
fn a_stopped_command_is_asked_to_end_before_its_hard_deadline() {
    let world = World::sqlite();
    let script = "echo $$ > pid; exec sleep 600";
    let running = world.start(&["once", "k", "--ttl", "1s", "--hard-ttl", "8s", "--", "sh", "-c", script]);
    until("it runs", || world.read("pid").ends_with('\n'));
    send(&world.read("pid"), Signal::STOP);
    assert_eq!(running.ended().code(), 76);
    let doubt = world.inspect("k")["doubt"].to_string();
    assert!(doubt.contains("killed by signal 15"), "it went on, and could act on it: {doubt}");
}

#[test]
fn the_cause_of_a_doubt_names_a_loss_of_authority_only_if_there_was_one() {
    let world = World::sqlite();
    assert_eq!(world.once("k", &[], &format!("{STUBBORN}; exit 1")).code(), 76);
    assert_eq!(world.inspect("k")["doubt"], "sh ended with exit code 1");
    assert!(!runs(&world.read("child")));

    let options = ["--ttl", "1s", "--hard-ttl", "5s"];
    assert_eq!(world.once("late", &options, "trap '' TERM; sleep 600 & wait; wait").code(), 76);
    let doubt = world.inspect("late")["doubt"].to_string();
    assert!(doubt.contains("killed by signal 9; its hard deadline had passed"), "{doubt}");
}

#[test]
fn a_stopped_command_ends_when_a_signal_asks_it_to() {
    for (command, signal, code) in [("once", Signal::TERM, 76), ("lease", Signal::INT, 130)] {
        let world = World::sqlite();
        let running = world.start(&[command, "k", "--", "sh", "-c", "echo $$ > pid; exec sleep 600"]);
        until("it runs", || world.read("pid").ends_with('\n'));
        let pid = world.read("pid");
        send(&pid, Signal::STOP);
        until("it is stopped", || is_stopped(&pid));
        running.send(signal);
        let ran = running.ended();
        assert_eq!(ran.code(), code, "{ran:?}");
        assert!(!runs(&pid));
    }
}

#[test]
fn a_zombie_process_counts_as_ended() {
    for (command, code) in [("once", 76), ("lease", 1)] {
        let world = World::sqlite();
        // The program is the first process of the namespace, so that the orphan is its child, which it never waits for.
        let script = "sleep 600 & echo $! > child; trap '' TERM; kill $!; exit 1";
        let ran = world.output(namespace(&world, &[SENTINEL, command, "p", "--", "sh", "-c", script]));
        assert_eq!(ran.code(), code, "{ran:?}");
        let err = ran.err();
        assert!(!err.contains("although SIGKILL was sent") && !err.contains("was not released"), "{err}");
        let script = "sleep 600 & exit 1";
        let ran = world.output(namespace(&world, &[SENTINEL, "once", "q", "--", "sh", "-c", script]));
        assert_eq!(ran.code(), 76, "{ran:?}");
        assert!(!ran.err().contains("although SIGKILL was sent"), "{ran:?}");
        assert_eq!(world.inspect("q")["doubt"], "sh ended with exit code 1");
    }
}

/// A command that waits for the file `go` as another user, and a process of root in its group. Another user's process
/// takes root to make; None without it. What set-uid leads to is the same: a member that belongs to root.
fn with_a_foreign_member(world: &World, command: &[&str]) -> Option<(Started, Child)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let copy = world.path("sentinel");
    std::fs::copy(SENTINEL, &copy).unwrap();
    let status = Command::new("chown").args(["-R", "65534:65534"]).arg(world.path("")).status();
    assert!(status.unwrap().success());
    let mut program = Command::new("setpriv");
    world.dress(program.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&copy));
    program.args(command).arg("--");
    program.args(["sh", "-c", "echo $$ > leader; until [ -e go ]; do sleep 0.05; done; exit 79"]);
    let holder = world.start_command(program);
    until("it runs", || world.read("leader").ends_with('\n'));
    let group = world.read("leader").trim().parse().unwrap();
    let foreign = Command::new("cat").stdin(Stdio::piped()).process_group(group).spawn().unwrap();
    std::fs::write(world.path("go"), "").unwrap();
    Some((holder, foreign))
}

fn end(mut foreign: Child) {
    drop(foreign.stdin.take());
    foreign.wait().unwrap();
}

#[test]
fn a_process_that_must_not_be_signalled_is_reported_and_keeps_the_lease() {
    let world = World::sqlite();
    let lease = ["lease", "k", "--ttl", "1s", "--hard-ttl", "20s"];
    let Some((holder, foreign)) = with_a_foreign_member(&world, &lease) else { return };
    until("the first process has ended", || !runs(&world.read("leader")));
    // After the signal, and the kill that follows it, the lease is kept until its hard deadline all the same.
    holder.send(Signal::INT);
    let ran = holder.ended();
    assert_eq!(ran.code(), 76, "{ran:?}");
    let reported = format!("does not allow this user to signal process {} of the command", foreign.id());
    assert!(ran.err().contains(&reported), "{ran:?}");
    assert!(ran.err().contains("was not released"), "{ran:?}");
    let events = world.run(&["history", "k", "--kind", "lease"]).out();
    assert!(!events.contains("released"), "{events}");
    let seen = world.run(&["inspect", "k", "--kind", "lease", "--json"]).json();
    let at = |name: &str| seen[name].as_str().map(str::to_owned);
    assert!(
        at("hard_until").is_some() && at("hard_until") <= at("store_now"),
        "it lapses at its hard deadline: {seen}"
    );
    end(foreign);
}

#[test]
fn a_nothing_happened_code_is_ignored_while_a_process_is_left() {
    let world = World::sqlite();
    let once = ["once", "k", "--nothing-happened-on", "79"];
    let Some((running, foreign)) = with_a_foreign_member(&world, &once) else { return };
    let ran = running.ended();
    assert_eq!(ran.code(), 76, "{ran:?}");
    let doubt = world.inspect("k")["doubt"].to_string();
    assert!(doubt.contains("some of its processes may still be running"), "{doubt}");
    end(foreign);
}
