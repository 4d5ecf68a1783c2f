//! A store of its own for each test, and the program on it.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct World {
    dir: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The program, in the test's directory, on the test's store, with nothing on standard input.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sentinel"));
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env("SENTINEL_STORE", format!("sqlite:{}", self.path("store.db").display()))
            .env("XDG_STATE_HOME", self.path("state"))
            .env_remove("SENTINEL_NAMESPACE")
            .env_remove("SENTINEL_WORKER")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran(self.command(arguments).output().unwrap())
    }

    /// Runs `once KEY OPTIONS -- sh -c SCRIPT`.
    pub(crate) fn once(&self, key: &str, options: &[&str], script: &str) -> Ran {
        let arguments = [&["once", key], options, &["--", "sh", "-c", script]].concat();
        self.run(&arguments)
    }

    /// Starts the program with its output kept, and does not wait for it.
    pub(crate) fn start(&self, arguments: &[&str]) -> Started {
        let mut command = self.command(arguments);
        Started(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    pub(crate) fn inspect(&self, key: &str) -> Value {
        self.run(&["inspect", key, "--json"]).json()
    }

    pub(crate) fn token(&self, key: &str) -> String {
        self.inspect(key)["token"].to_string()
    }

    /// Leaves a key in doubt.
    pub(crate) fn doubt(&self, key: &str) {
        assert_eq!(self.once(key, &[], "exit 9").code(), 76);
    }
}

pub(crate) struct Started(Child);

impl Started {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    pub(crate) fn ended(self) -> Ran {
        Ran(self.0.wait_with_output().unwrap())
    }
}

#[derive(Debug)]
pub(crate) struct Ran(Output);

impl Ran {
    #[track_caller]
    pub(crate) fn code(&self) -> i32 {
        let signal = self.0.status.signal();
        self.0.status.code().unwrap_or_else(|| panic!("killed by {signal:?}: {}", self.err()))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0.stdout
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The op id on standard error.
    pub(crate) fn op(&self) -> String {
        let err = self.err();
        let line = err.lines().find_map(|line| line.strip_prefix("sentinel: op "));
        line.unwrap_or_else(|| panic!("no op id: {err}")).to_owned()
    }
}

/// Waits until something holds; a minute is enough on the slowest machine.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    panic!("waited a minute in vain until {what}");
}

/// Whether a process with this number runs; one that is dead and not reaped does not.
pub(crate) fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
