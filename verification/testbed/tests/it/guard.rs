//! Nothing outlives the program that started it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use sentinel_testbed::postgres::Options;
use sentinel_testbed::{Postgres, until};

/// A program with a server of its own: its process, the server's number and folder.
struct Victim {
    program: Child,
    pid: Pid,
    folder: PathBuf,
}

impl Victim {
    fn start(which: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
        let mut program = command.arg(which).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
        let mut value =
            |name: &str| lines.next().unwrap().unwrap().strip_prefix(name).unwrap().trim().to_owned();
        let (pid, folder) = (value("pid"), PathBuf::from(value("folder")));
        // To the last line: while it prints, a pipe without a reader would be its end.
        assert!(value("url").contains("127.0.0.1") && value("socket").contains("sentinel-"));
        let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
        assert!(runs(pid) && folder.join("log").is_file());
        Self { program, pid, folder }
    }

    fn nothing_is_left(mut self) {
        self.program.wait().unwrap();
        until("the folder is gone", || !self.folder.exists());
        // First the server: one without a folder would end by itself some day, and be in the way until then.
        assert!(!runs(self.pid));
    }
}

/// Whether a process runs; one that is dead and not reaped does not.
fn runs(pid: Pid) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"));
    test_kill_process(pid).is_ok() && !status.is_ok_and(|status| status.contains("State:\tZ"))
}

#[test]
fn a_killed_program_leaves_no_server_and_no_folder() {
    for which in ["postgres", "redis"] {
        let victim = Victim::start(which);
        kill_process(Pid::from_child(&victim.program), Signal::KILL).unwrap();
        victim.nothing_is_left();
    }
}

#[test]
fn an_interrupted_program_leaves_nothing_even_if_its_server_is_paused() {
    let victim = Victim::start("postgres");
    kill_process(victim.pid, Signal::STOP).unwrap();
    kill_process(Pid::from_child(&victim.program), Signal::INT).unwrap();
    victim.nothing_is_left();
}

#[test]
fn a_program_that_returns_leaves_nothing() {
    let mut victim = Victim::start("postgres");
    drop(victim.program.stdin.take());
    victim.nothing_is_left();
}

#[test]
fn a_dropped_server_is_gone_at_once() {
    let server = Postgres::start(Options::default());
    let (pid, folder) = (Pid::from_raw(server.pid().cast_signed()).unwrap(), server.folder().to_owned());
    assert!(runs(pid) && folder.exists());
    drop(server);
    // Not even an entry in the system's table is left.
    assert!(test_kill_process(pid).is_err() && !folder.exists());
}

#[test]
fn a_panic_stops_the_server() {
    let (sender, folder) = std::sync::mpsc::channel();
    let failed = std::thread::spawn(move || {
        let server = Postgres::start(Options::default());
        sender.send(server.folder().to_owned()).unwrap();
        panic!("as a failed test does");
    });
    assert!(failed.join().is_err());
    assert!(!folder.recv().unwrap().exists());
}

#[test]
#[cfg(target_os = "linux")]
fn a_killed_server_leaves_no_shared_memory() {
    let server = Postgres::start(Options::default());
    let lock = std::fs::read_to_string(server.folder().join("data/postmaster.pid")).unwrap();
    let id = lock.lines().nth(6).unwrap().split_whitespace().nth(1).unwrap().to_owned();
    let there = || {
        let all = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
        all.lines().any(|line| line.split_whitespace().nth(1) == Some(&id))
    };
    server.kill9();
    assert!(there());
    drop(server);
    assert!(!there());
}
