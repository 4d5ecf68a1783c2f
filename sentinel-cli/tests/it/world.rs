//! A store of its own for each test, and the program on it.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sentinel_testbed::postgres::Options;
use sentinel_testbed::{Postgres, Redis};
use serde_json::Value;
use tempfile::TempDir;

/// Makes a function of a [`World`] one test for each store: `name::sqlite`, `name::postgres` and `name::redis`.
macro_rules! each_store {
    ($name:ident) => {
        mod $name {
            #[test]
            fn sqlite() {
                super::$name(crate::world::World::sqlite());
            }

            #[test]
            fn postgres() {
                super::$name(crate::world::World::postgres());
            }

            #[test]
            fn redis() {
                super::$name(crate::world::World::redis());
            }
        }
    };
}

/// The PostgreSQL server of all tests here. Each program of a race has connections of its own.
pub(crate) fn server() -> &'static Postgres {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    SERVER.get_or_init(|| Postgres::start(Options::default().conf("max_connections = 500")))
}

/// The Redis server of all tests that do nothing to it.
pub(crate) fn redis() -> &'static Redis {
    static SERVER: OnceLock<Redis> = OnceLock::new();
    SERVER.get_or_init(|| Redis::start(Default::default()))
}

pub(crate) struct World {
    dir: TempDir,
    store: String,
}

impl World {
    /// On a file of its own, which is not made yet.
    pub(crate) fn sqlite() -> Self {
        let dir = TempDir::new().unwrap();
        let store = format!("sqlite:{}", dir.path().join("store.db").display());
        Self { dir, store }
    }

    /// On a schema of its own, set up.
    pub(crate) fn postgres() -> Self {
        let world = Self::at(server());
        let init = world.run(&["init"]);
        assert_eq!(init.code(), 0, "{init:?}");
        world
    }

    /// On a schema of its own on this server, which is not set up.
    pub(crate) fn at(server: &Postgres) -> Self {
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        Self::on(&format!("{}?sentinel_schema=world_{number}", server.url()))
    }

    /// On keys of its own, set up.
    pub(crate) fn redis() -> Self {
        let world = Self::at_redis(&redis().url());
        let init = world.run(&["init"]);
        assert_eq!(init.code(), 0, "{init:?}");
        world
    }

    /// On keys of its own at a URL without parameters, which are not set up.
    pub(crate) fn at_redis(url: &str) -> Self {
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        Self::on(&format!("{url}?sentinel_key_prefix=world-{number}"))
    }

    /// On a store that was set up elsewhere.
    pub(crate) fn on(store: &str) -> Self {
        Self { dir: TempDir::new().unwrap(), store: store.to_owned() }
    }

    pub(crate) fn store(&self) -> &str {
        &self.store
    }

    /// The schema that its URL names.
    #[track_caller]
    pub(crate) fn schema(&self) -> &str {
        self.store.split_once("sentinel_schema=").unwrap().1
    }

    /// What the names of its keys begin with, as its URL has it.
    #[track_caller]
    pub(crate) fn prefix(&self) -> &str {
        self.store.split_once("sentinel_key_prefix=").unwrap().1
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Whether the program has collected its command's exit, so that a signal is no longer passed on to the command,
    /// which must write its number to the file `pid`.
    pub(crate) fn has_reaped(&self) -> bool {
        !Path::new("/proc").join(self.read("pid").trim()).exists()
    }

    /// The program, in the test's directory, on the test's store, with nothing on standard input.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        self.dress(command.args(arguments));
        command
    }

    /// In the test's directory, on the test's store, with nothing on standard input.
    pub(crate) fn dress(&self, command: &mut Command) {
        command
            .current_dir(self.dir.path())
            .env("SENTINEL_STORE", &self.store)
            .env("XDG_STATE_HOME", self.path("state"))
            .env_remove("SENTINEL_CAUSE")
            .env_remove("SENTINEL_NAMESPACE")
            .env_remove("SENTINEL_WORKER")
            .stdin(Stdio::null());
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran(self.command(arguments).output().unwrap())
    }

    /// Runs a program to its end.
    pub(crate) fn output(&self, mut command: Command) -> Ran {
        Ran(command.output().unwrap())
    }

    /// Waits for the end of a program.
    pub(crate) fn finished(&self, child: Child) -> Ran {
        Ran(child.wait_with_output().unwrap())
    }

    /// Runs `once KEY OPTIONS -- sh -c SCRIPT`.
    pub(crate) fn once(&self, key: &str, options: &[&str], script: &str) -> Ran {
        let arguments = [&["once", key], options, &["--", "sh", "-c", script]].concat();
        self.run(&arguments)
    }

    /// Starts the program with its output kept, and does not wait for it.
    pub(crate) fn start(&self, arguments: &[&str]) -> Started {
        self.start_command(self.command(arguments))
    }

    /// Starts a program with its output kept, and does not wait for it.
    pub(crate) fn start_command(&self, mut command: Command) -> Started {
        let name = name();
        command.env("PGAPPNAME", &name).stdout(Stdio::piped()).stderr(Stdio::piped());
        Started { child: command.spawn().unwrap(), name }
    }

    /// Whether a program that was started, the only one here that waits for a key, has the store open.
    pub(crate) fn has_store_open(&self, started: &Started) -> bool {
        if self.store.starts_with("sqlite:") {
            return has_open(started.id(), "store.db");
        }
        if self.store.starts_with("redis:") {
            return !redis().cli(&["PUBSUB", "CHANNELS", &format!("{}:*", self.prefix())]).is_empty();
        }
        let sessions =
            format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}'", started.name);
        server().psql(&sessions) != "0"
    }

    /// Null: the store's file is not there, or not set up, yet.
    pub(crate) fn inspect(&self, key: &str) -> Value {
        let ran = self.run(&["inspect", key, "--json"]);
        let is_early = ran.code() == 69 && self.store.starts_with("sqlite:");
        if is_early { Value::Null } else { ran.json() }
    }

    pub(crate) fn token(&self, key: &str) -> String {
        self.inspect(key)["token"].to_string()
    }

    /// Leaves a key in doubt.
    pub(crate) fn doubt(&self, key: &str) {
        assert_eq!(self.once(key, &["--late-effects", "0s"], "exit 9").code(), 76);
    }
}

/// A name by which the server shows which program a connection is of.
fn name() -> String {
    static NAMES: AtomicU32 = AtomicU32::new(0);
    format!("started_{}", NAMES.fetch_add(1, Ordering::Relaxed))
}

fn has_open(pid: u32, name: &str) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.into_iter().any(|target| target.ends_with(name))
}

pub(crate) struct Started {
    child: Child,
    name: String,
}

impl Started {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends a signal again and again until the program has ended.
    pub(crate) fn ended_by(mut self, signal: Signal) -> Ran {
        until("it ends", || {
            let ended = self.child.try_wait().unwrap().is_some();
            if !ended {
                self.send(signal);
            }
            ended
        });
        self.ended()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn ended(self) -> Ran {
        Ran(self.child.wait_with_output().unwrap())
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

/// The program, with each signal at its default: a test may run under `nohup`, or in the background of a script.
fn program() -> Command {
    with_default_signals(SENTINEL)
}

/// A program, with each signal at its default.
pub(crate) fn with_default_signals(program: &str) -> Command {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if mask_in(&status, "SigIgn:") & !bit(Signal::PIPE) == 0 {
        return Command::new(program);
    }
    let mut env = Command::new("env");
    env.args(["--default-signal", program]);
    env
}

/// The compiled program.
pub(crate) const SENTINEL: &str = env!("CARGO_BIN_EXE_sentinel");

/// A set of signals as `/proc/PID/status` shows it, in the line that begins with `name`; without real-time signals.
pub(crate) fn mask_in(status: &str, name: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix(name));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0) & 0x7fff_ffff
}

/// The set of this signal.
pub(crate) fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1)
}

/// Sends a signal to a process that a script has named.
pub(crate) fn send(pid: &str, signal: Signal) {
    kill_process(Pid::from_raw(pid.trim().parse().unwrap()).unwrap(), signal).unwrap();
}

/// Whether a process is stopped.
pub(crate) fn is_stopped(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// A command in a PID namespace of its own, as its first process: it can end no process outside of it.
pub(crate) fn namespace(world: &World, command: &[&str]) -> Command {
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"]).args(command);
    world.dress(&mut unshare);
    unshare
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
    panic!("after a minute this is still not true: {what}");
}

/// Whether a process with this number runs; one that is dead and not reaped does not.
pub(crate) fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
