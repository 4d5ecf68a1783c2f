//! The guard of a command outlasts the signals of a supervisor, and is replaced when it ends.

use rustix::process::Signal;

use crate::world::{World, bit, is_stopped, mask_in, runs, send, until};

const SLEEPS: &str = "echo $$ > leader; sleep 600 & echo $! > child; wait";
const OF_SUPERVISORS: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];

/// The guard that a program has started.
fn guard_of(pid: u32) -> Option<String> {
    let names =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| runs(name)).find(|name| {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{name}/{file}")).unwrap_or_default();
        let parent = read("status").lines().any(|line| line == format!("PPid:\t{pid}"));
        parent && read("cmdline").split('\0').any(|argument| argument == "__guard")
    })
}

#[test]
fn a_guard_ignores_the_signals_of_a_supervisor_and_is_replaced_when_it_is_killed() {
    for command in ["once", "lease"] {
        let world = World::sqlite();
        let running = world.start(&[command, "k", "--", "sh", "-c", SLEEPS]);
        until("the command runs", || world.read("child").ends_with('\n'));
        let first = guard_of(running.id()).unwrap();
        outlasts(&first);
        send(&first, Signal::KILL);
        until("another guard is there", || guard_of(running.id()).is_some_and(|guard| guard != first));
        let second = guard_of(running.id()).unwrap();
        outlasts(&second);
        running.send(Signal::KILL);
        until("nothing of the command is left", || {
            !runs(&world.read("leader")) && !runs(&world.read("child"))
        });
    }
}

/// A signal that waits because it is blocked has ended nothing.
fn outlasts(guard: &str) {
    for signal in OF_SUPERVISORS {
        send(guard, signal);
    }
    let all = OF_SUPERVISORS.into_iter().map(bit).fold(0, |all, one| all | one);
    let status = std::fs::read_to_string(format!("/proc/{guard}/status")).unwrap();
    assert_eq!(mask_in(&status, "ShdPnd:") & all, all, "{status}");
    assert!(runs(guard));
}

#[test]
fn a_guard_that_ends_while_the_background_is_waited_for_is_replaced() {
    let world = World::sqlite();
    let holder = world.start(&[
        "lease",
        "k",
        "--",
        "sh",
        "-c",
        "sleep 600 & echo $! > child; echo $$ > leader; exit 0",
    ]);
    until("the first process has started", || world.read("leader").ends_with('\n'));
    until("only its background runs", || !runs(&world.read("leader")));
    let first = guard_of(holder.id()).unwrap();
    send(&first, Signal::KILL);
    until("another guard is there", || guard_of(holder.id()).is_some_and(|guard| guard != first));
    holder.send(Signal::KILL);
    until("the background is gone", || !runs(&world.read("child")));
}

#[test]
fn the_first_process_dies_with_the_program_although_no_guard_is_left() {
    for command in ["once", "lease"] {
        let world = World::sqlite();
        let running = world.start(&[command, "k", "--", "sh", "-c", SLEEPS]);
        until("the command runs", || world.read("child").ends_with('\n'));
        let guard = guard_of(running.id()).unwrap();
        // A program that is stopped replaces no guard.
        running.send(Signal::STOP);
        until("the program is stopped", || is_stopped(&running.id().to_string()));
        send(&guard, Signal::KILL);
        until("the guard is gone", || !runs(&guard));
        running.send(Signal::KILL);
        until("the first process is gone", || !runs(&world.read("leader")));
        send(&world.read("child"), Signal::KILL);
    }
}
