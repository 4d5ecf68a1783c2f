//! A command can use the terminal, as under `flock`. `script` makes one, in which a shell runs.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::world::{Ran, SENTINEL, World, is_stopped, until};

/// A shell script in a terminal of its own.
struct Session<'a> {
    world: &'a World,
    child: std::process::Child,
}

impl<'a> Session<'a> {
    fn start(world: &'a World, script: &str) -> Self {
        std::fs::write(world.path("script"), script.replace("SENTINEL", SENTINEL)).unwrap();
        // A shell cannot catch a signal that was ignored when it started.
        let mut command = Command::new("env");
        world.dress(command.args(["--default-signal", "script", "-qec", "sh ./script", "/dev/null"]));
        // The first command of the script is in the foreground, whatever shell runs it.
        command.env("SHELL", "/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { world, child: command.spawn().unwrap() }
    }

    fn types(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn ended(self) -> Ran {
        // Its input stays open until the end: the end of the input would be the end of the session.
        let mut child = self.child;
        let stdin = child.stdin.take();
        let ran = self.world.finished(child);
        drop(stdin);
        ran
    }
}

const READS: &str = "bash -c 'read x </dev/tty; echo \"got $x\"'";

#[test]
fn a_command_reads_from_the_terminal_although_its_input_is_none() {
    for command in ["once", "lease"] {
        let world = World::sqlite();
        let mut session = Session::start(&world, &format!("SENTINEL {command} k -- {READS} </dev/null"));
        session.types("text\n");
        let ran = session.ended();
        assert_eq!(ran.code(), 0, "{ran:?}");
        assert!(ran.out().contains("got text"), "{ran:?}");
    }
}

#[test]
fn a_command_in_the_background_reads_from_the_terminal_after_fg() {
    for command in ["once", "lease"] {
        let world = World::sqlite();
        let script = format!(
            "set -m; SENTINEL {command} k --ttl 10m -- {READS} </dev/null & echo $! > pid; \
             until [ -e go ]; do sleep 0.05; done; fg; echo code $?"
        );
        let mut session = Session::start(&world, &script);
        until("the job is stopped, as jobs that read in the background are", || {
            is_stopped(&world.read("pid"))
        });
        std::fs::write(world.path("go"), "").unwrap();
        session.types("text\n");
        let ran = session.ended();
        assert!(ran.out().contains("got text") && ran.out().contains("code 0"), "{ran:?}");
    }
}

#[test]
fn a_command_writes_to_a_terminal_that_stops_jobs_in_the_background() {
    for command in ["once", "lease"] {
        let world = World::sqlite();
        let script =
            format!("stty tostop; echo text | SENTINEL {command} k -- sh -c 'sed s/^/got-/; echo end'");
        let ran = Session::start(&world, &script).ended();
        assert_eq!(ran.code(), 0, "{ran:?}");
        assert!(ran.out().contains("got-text") && ran.out().contains("end"), "{ran:?}");
    }
}

#[test]
fn the_next_command_of_a_pipeline_keeps_the_terminal() {
    for command in ["once", "lease"] {
        let world = World::sqlite();
        let reader = "sh -c 'read x; read y </dev/tty; echo \"got $x $y\"'";
        let script = format!("SENTINEL {command} k -- echo piped | {reader}");
        let mut session = Session::start(&world, &script);
        session.types("typed\n");
        let ran = session.ended();
        assert!(ran.out().contains("got piped typed"), "{ran:?}");
    }
}

#[test]
fn the_keyboard_interrupts_a_command_and_its_neighbours() {
    for input in ["", "sleep 600 | "] {
        let world = World::sqlite();
        let command = "sh -c 'echo $$ > pid; exec sleep 600'";
        let script = format!("trap : INT; {input}SENTINEL lease k -- {command}; echo code $?");
        let mut session = Session::start(&world, &script);
        until("it runs", || world.read("pid").ends_with('\n'));
        session.types("\x03");
        let ran = session.ended();
        assert!(ran.out().contains("code 130"), "{input}: {ran:?}");
    }
}

#[test]
fn the_keyboard_stops_command_and_program_and_fg_continues_both() {
    // dash cannot be stopped in the moment between vfork and exec; bash can.
    for (input, output) in [("", ""), ("echo piped | ", ""), ("", " | cat")] {
        let world = World::sqlite();
        let script = format!(
            "set -m; {input}SENTINEL lease k --ttl 10m -- bash -c \
             'echo $PPID > program; echo $$ > pid; until [ -e go ]; do sleep 0.05; done; echo done'{output}; \
             touch stopped; until [ -e continue ]; do sleep 0.05; done; fg; echo code $?"
        );
        let mut session = Session::start(&world, &script);
        until("it runs", || world.read("pid").ends_with('\n'));
        session.types("\x1a");
        until("the shell has the terminal again", || world.path("stopped").exists());
        until("both are stopped", || is_stopped(&world.read("pid")) && is_stopped(&world.read("program")));
        std::fs::write(world.path("go"), "").unwrap();
        std::fs::write(world.path("continue"), "").unwrap();
        let ran = session.ended();
        assert!(ran.out().contains("done") && ran.out().contains("code 0"), "{input}{output}: {ran:?}");
    }
}

#[test]
fn the_keyboard_stops_what_a_lease_waits_for() {
    let world = World::sqlite();
    let script = "set -m; SENTINEL lease k --ttl 10m -- bash -c \
        '(until [ -e go ]; do sleep 0.05; done) & echo $! > child; echo $PPID > program; exit 3' 2> notes; \
        touch stopped; until [ -e continue ]; do sleep 0.05; done; fg; echo code $?";
    let mut session = Session::start(&world, script);
    until("the program has the terminal again", || world.read("notes").contains("the lease is kept"));
    session.types("\x1a");
    until("the shell has the terminal again", || world.path("stopped").exists());
    until("both are stopped", || is_stopped(&world.read("child")) && is_stopped(&world.read("program")));
    std::fs::write(world.path("go"), "").unwrap();
    std::fs::write(world.path("continue"), "").unwrap();
    let ran = session.ended();
    assert!(ran.out().contains("code 3"), "{ran:?}");
}

/// Writes into a file whether the process that runs it is in the foreground of its terminal.
const RECORD_FOREGROUND: &str = "read -r pid name state parent group session tty foreground rest < /proc/$$/stat; \
                     [ $group = $foreground ] && echo yes > seen || echo no > seen";

#[test]
fn a_command_has_the_terminal_when_it_starts_unless_a_neighbour_may_want_it() {
    for (redirected, has_it) in [("", "yes\n"), (" > fifo", "no\n"), (" 2> fifo", "no\n"), (" | cat", "no\n")]
    {
        let world = World::sqlite();
        std::fs::write(world.path("records"), RECORD_FOREGROUND).unwrap();
        // No other process is in this job, but for the last one.
        let script =
            format!("set -m; mkfifo fifo; exec 7<>fifo; SENTINEL once k -- sh ./records{redirected}");
        let ran = Session::start(&world, &script).ended();
        assert_eq!((ran.code(), world.read("seen").as_str()), (0, has_it), "{redirected}: {ran:?}");
    }
}

#[test]
fn a_command_that_goes_on_after_fg_has_the_terminal_again() {
    let world = World::sqlite();
    let waits = format!("echo $$ > pid; until [ -e go ]; do sleep 0.05; done; {RECORD_FOREGROUND}");
    std::fs::write(world.path("waits"), waits).unwrap();
    let script = "set -m; SENTINEL lease k --ttl 10m -- bash ./waits; \
                  touch stopped; until [ -e continue ]; do sleep 0.05; done; fg; echo code $?";
    let mut session = Session::start(&world, script);
    until("it runs", || world.read("pid").ends_with('\n'));
    session.types("\x1a");
    until("the shell has the terminal again", || world.path("stopped").exists());
    until("it is stopped", || is_stopped(&world.read("pid")));
    std::fs::write(world.path("go"), "").unwrap();
    std::fs::write(world.path("continue"), "").unwrap();
    let ran = session.ended();
    assert!(ran.out().contains("code 0") && world.read("seen") == "yes\n", "{ran:?}");
}
