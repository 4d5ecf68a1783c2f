//! What a program inherits: ignored and blocked signals, limits, and variables.

use std::process::Command;

use rustix::process::Signal;

use crate::termination::catches;
use crate::world::{Ran, SENTINEL, Started, World, bit, mask_in, runs, send, until, with_default_signals};

/// The program under `env` with these options.
fn under(world: &World, options: &str, arguments: &[&str]) -> Command {
    let mut env = Command::new("env");
    world.dress(env.arg("--default-signal").arg(options).arg(SENTINEL).args(arguments));
    env
}

fn run_under(world: &World, options: &str, arguments: &[&str]) -> Ran {
    world.output(under(world, options, arguments))
}

/// Runs a command that writes `ready`, and waits for `go`.
fn start_under(world: &World, options: &str, command: &str, script: &str) -> Started {
    let script = format!("{script}; echo $$ > ready; until [ -e go ]; do sleep 0.05; done");
    let started = world.start_command(under(world, options, &[command, "k", "--", "sh", "-c", &script]));
    until("the command runs", || world.read("ready").ends_with('\n'));
    started
}

#[test]
fn an_ignored_sigchld_hides_no_end_and_stays_ignored_for_the_command() {
    let world = World::sqlite();
    let seen = run_under(
        &world,
        "--ignore-signal=CHLD,PIPE",
        &["once", "k", "--", "grep", "Sig", "/proc/self/status"],
    );
    assert_eq!(seen.code(), 0, "{seen:?}");
    // SIGPIPE is always at its default for the command.
    assert_eq!(mask_in(&seen.out(), "SigIgn:"), bit(Signal::CHILD));
    let ran =
        run_under(&world, "--ignore-signal=CHLD", &["lease", "k", "--", "sh", "-c", "sleep 0.1; exit 7"]);
    assert_eq!(ran.code(), 7, "{ran:?}");
    let ran = run_under(&world, "--ignore-signal=CHLD", &["lease", "k", "--", "no-such-command"]);
    assert_eq!(ran.code(), 127, "{ran:?}");
}

#[test]
fn a_blocked_signal_asks_the_program_to_end_and_stays_blocked_for_the_command() {
    let world = World::sqlite();
    let blocks = "--block-signal=TERM,USR2";
    let seen = run_under(&world, blocks, &["once", "seen", "--", "grep", "Sig", "/proc/self/status"]);
    assert_eq!(mask_in(&seen.out(), "SigBlk:"), bit(Signal::TERM) | bit(Signal::USR2), "{seen:?}");
    assert_eq!(mask_in(&seen.out(), "SigIgn:"), 0, "{seen:?}");

    let holder = start_under(&world, "--default-signal", "lease", ":");
    let waiting =
        world.start_command(under(&world, blocks, &["lease", "k", "--wait", "1h", "--", "touch", "ran"]));
    let pid = waiting.id();
    until("it has the store open, and its handlers", || world.has_store_open(&waiting) && catches(pid));
    waiting.send(Signal::TERM);
    assert_eq!(waiting.ended().code(), 143);
    std::fs::write(world.path("go"), "").unwrap();
    assert_eq!(holder.ended().code(), 0);
    assert!(!world.path("ran").exists());
}

#[test]
fn an_ignored_signal_stays_ignored() {
    for command in ["once", "lease"] {
        let world = World::sqlite();
        let signals = [Signal::INT, Signal::TERM, Signal::QUIT, Signal::HUP, Signal::USR1, Signal::ALARM];
        let options = "--ignore-signal=INT,TERM,QUIT,HUP,USR1,ALRM";
        let running = start_under(&world, options, command, "grep Sig /proc/self/status > seen");
        let ignored = mask_in(&world.read("seen"), "SigIgn:");
        for signal in signals {
            assert_eq!(ignored & bit(signal), bit(signal), "{signal:?}");
            running.send(signal);
        }
        std::fs::write(world.path("go"), "").unwrap();
        let ran = running.ended();
        assert_eq!(ran.code(), 0, "{ran:?}");
    }
}

#[test]
fn usr1_and_usr2_reach_the_first_process_of_the_command_only() {
    for command in ["once", "lease"] {
        let world = World::sqlite();
        let traps = "trap 'echo USR1 >> got' USR1; trap 'echo USR2 >> got' USR2; sleep 600 & echo $! > child";
        let running = start_under(&world, "--default-signal", command, traps);
        for (signal, name) in [(Signal::USR1, "USR1"), (Signal::USR2, "USR2")] {
            running.send(signal);
            until("the command has got it", || world.read("got").contains(name));
        }
        assert!(runs(&world.read("child")), "its child does not know the signal, and would end");
        send(&world.read("child"), Signal::KILL);
        std::fs::write(world.path("go"), "").unwrap();
        let ran = running.ended();
        assert_eq!(ran.code(), 0, "{ran:?}");
    }
}

#[test]
fn hup_and_alrm_reach_the_whole_group_and_end_it() {
    for (signal, number) in [(Signal::HUP, 1), (Signal::ALARM, 14)] {
        for (command, code) in [("once", 76), ("lease", 128 + number)] {
            let world = World::sqlite();
            let running = start_under(&world, "--default-signal", command, "sleep 600 & echo $! > child");
            running.send(signal);
            let ran = running.ended();
            assert_eq!(ran.code(), code, "{ran:?}");
            assert!(!runs(&world.read("child")));
            if command == "once" {
                assert_eq!(world.inspect("k")["doubt"], format!("sh was killed by signal {number}"));
            }
        }
    }
}

#[test]
fn before_the_command_has_started_each_of_these_signals_ends_the_wait() {
    let world = World::sqlite();
    let holder = start_under(&world, "--default-signal", "lease", ":");
    for (signal, code) in [(Signal::USR1, 138), (Signal::USR2, 140), (Signal::ALARM, 142), (Signal::HUP, 129)]
    {
        let waiting = world.start(&["lease", "k", "--wait", "1h", "--", "touch", "ran"]);
        let pid = waiting.id();
        until("it has the store open, and its handlers", || world.has_store_open(&waiting) && catches(pid));
        waiting.send(signal);
        assert_eq!(waiting.ended().code(), code);
    }
    std::fs::write(world.path("go"), "").unwrap();
    assert_eq!(holder.ended().code(), 0);
    assert!(!world.path("ran").exists());
}

#[test]
fn over_the_limit_of_file_sizes_a_result_is_unconfirmed_as_on_a_full_disk() {
    let world = World::sqlite();
    assert_eq!(world.once("other", &[], "true").code(), 0);
    let limited = |arguments: &str| {
        let mut shell = with_default_signals("sh");
        // Blocks of 512 bytes: the store fits, with the claim; the result does not.
        world.dress(shell.args(["-c", &format!("ulimit -f 1200; exec \"$0\" {arguments}"), SENTINEL]));
        shell
    };
    // As on a full disk, the result is sent until it is recorded, or until a signal ends that.
    let script = "'echo run >> effects; echo $$ > pid; head -c 900000 /dev/zero'";
    let sends = limited(&format!("once k --ttl 1s --hard-ttl 1m -- sh -c {script} > /dev/null"));
    let mut sends = world.start_command(sends);
    until("the command runs", || world.read("pid").ends_with('\n'));
    until("the command has ended", || !runs(&world.read("pid")));
    until("a signal has ended the program", || {
        sends.has_ended() || {
            sends.send(Signal::TERM);
            false
        }
    });
    let ran = sends.ended();
    assert_eq!(ran.code(), 76, "{ran:?}");
    assert!(ran.err().contains("the store did not confirm that this is recorded"), "{ran:?}");
    assert_eq!(world.read("effects"), "run\n");
    until("the key is in doubt", || world.inspect("k")["state"] == "uncertain");

    // This output is too large to be recorded, so only the file that it is written to is over the limit.
    let ran = world.output(limited("once large -- head -c 2000000 /dev/zero > out"));
    assert_eq!(ran.code(), 74, "{ran:?}");
    assert_eq!(world.inspect("large")["state"], "completed");
}

#[test]
fn the_namespace_of_a_key_is_no_default_for_programs_that_the_command_calls() {
    let shows = "echo \"$SENTINEL_KEY_NAMESPACE,$SENTINEL_NAMESPACE\"";
    for command in ["once", "lease"] {
        let world = World::sqlite();
        let arguments = ["--namespace", "red", command, "k", "--", "sh", "-c", shows];
        assert_eq!(world.run(&arguments).out(), "red,\n");
        let mut with = world.command(&["--namespace", "red", command, "j", "--", "sh", "-c", shows]);
        with.env("SENTINEL_NAMESPACE", "blue");
        assert_eq!(world.output(with).out(), "red,blue\n");
        let script = format!("{SENTINEL} once inner -- true");
        assert_eq!(world.run(&["--namespace", "red", command, "l", "--", "sh", "-c", &script]).code(), 0);
        assert_eq!(world.inspect("inner")["namespace"], "default");
        assert_eq!(world.inspect("inner")["state"], "completed");
    }
}
