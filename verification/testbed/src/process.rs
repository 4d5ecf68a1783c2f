//! What all servers have in common: a folder, a guard, a process, a log.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::account::Account;
use crate::guard::Guard;

/// The pause between two attempts, and how many there are: two minutes or more, enough on the slowest machine.
const PAUSE: Duration = Duration::from_millis(10);
const MAX_ATTEMPTS: u32 = 12_000;

/// Waits until a condition is true.
///
/// # Panics
/// When it is not true within two minutes.
#[track_caller]
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(becomes_true(condition), "after two minutes this is still not true: {what}");
}

fn becomes_true(mut condition: impl FnMut() -> bool) -> bool {
    (0..MAX_ATTEMPTS).any(|_| {
        let is_true = condition();
        if !is_true {
            std::thread::park_timeout(PAUSE);
        }
        is_true
    })
}

/// A server that can be started again in the same folder.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    /// The signal after which nothing is left, by number and by name: for the end.
    last: (Signal, &'static str),
    account: Option<Account>,
    /// What only the server itself is started with.
    pub(crate) environment: Vec<(&'static str, String)>,
    running: Mutex<Option<Child>>,
    guard: Guard,
}

impl Server {
    /// A folder and its guard; nothing runs yet.
    pub(crate) fn new(name: &'static str, last: (Signal, &'static str)) -> Self {
        let (guard, account) = (Guard::start(), Account::for_servers());
        if let Some(account) = account {
            account.give(guard.folder());
        }
        Self { name, last, account, environment: Vec::new(), running: Mutex::new(None), guard }
    }

    /// The same server, under the account of the test program.
    pub(crate) fn without_account(mut self) -> Self {
        self.account = None;
        self
    }

    pub(crate) fn folder(&self) -> &Path {
        self.guard.folder()
    }

    /// A command that runs as the server does: its account, its folder, none of the caller's settings.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = plain(program);
        command.current_dir(self.folder());
        if let Some(account) = self.account {
            account.apply(&mut command);
        }
        command
    }

    /// Writes a file that only the server can read.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::OpenOptionsExt as _;

        let path = self.folder().join(name);
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        if let Some(account) = self.account {
            account.give(&path);
        }
        path
    }

    /// Adds to the end of a file.
    pub(crate) fn append(&self, name: &str, text: &str) {
        let path = self.folder().join(name);
        let file = File::options().append(true).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }

    /// Starts the server. The process reads a line before it becomes the server, and ends if none comes: every server
    /// that runs is known to the guard.
    pub(crate) fn start(&self, program: &Path, args: &[String]) {
        let mut running = self.running();
        assert!(running.is_none(), "{} runs already", self.name);
        let log =
            File::options().create(true).append(true).open(self.log_path()).expect("a log can be written");
        let mut command = self.command(Path::new("/bin/sh"));
        command.args(["-c", r#"read -r word && exec "$0" "$@" </dev/null"#]).arg(program).args(args);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stderr(log.try_clone().expect("a log can be written")).stdout(log);
        let spawned = command.process_group(0).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("cannot start {}: {error}", self.name));
        self.guard.watch(child.id(), self.last.1);
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(b"go\n").unwrap_or_else(|error| panic!("{} does not start: {error}", self.name));
        }
        *running = Some(child);
    }

    /// Starts the server and waits until it is ready or has ended. Returns whether it is ready.
    #[track_caller]
    pub(crate) fn launch(&self, program: &Path, args: &[String], is_ready: impl Fn() -> bool) -> bool {
        self.start(program, args);
        let mut ready = false;
        until(&format!("{} is ready", self.name), || {
            ready = is_ready();
            ready || self.ended().is_some()
        });
        ready
    }

    /// The number of the server's process.
    #[track_caller]
    pub(crate) fn pid(&self) -> Pid {
        match self.running().as_ref() {
            Some(child) => Pid::from_child(child),
            None => panic!("{} is not running", self.name),
        }
    }

    /// Whether a server was started and not stopped; it may have ended by itself.
    pub(crate) fn is_running(&self) -> bool {
        self.running().is_some()
    }

    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal)
            .unwrap_or_else(|error| panic!("{} takes no signal: {error}", self.name));
    }

    /// Stops the process, as a debugger would, and waits until it is stopped.
    pub(crate) fn halt(&self) {
        self.signal(Signal::STOP);
        let stopped = waitid(
            WaitId::Pid(self.pid()),
            WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        );
        stopped.unwrap_or_else(|error| panic!("cannot wait for {}: {error}", self.name));
    }

    /// Waits for the end of a server that was asked to stop.
    #[track_caller]
    pub(crate) fn wait(&self) {
        assert!(self.ends(), "after two minutes {} has not ended: {}", self.name, self.log());
    }

    /// Whether the server ends. If so, the guard knows.
    fn ends(&self) -> bool {
        let mut running = self.running();
        let Some(child) = running.as_mut() else { return true };
        let ended = becomes_true(|| !matches!(child.try_wait(), Ok(None)));
        if ended {
            self.guard.forget();
            *running = None;
        }
        ended
    }

    /// How a server ended that was not asked to stop, if it has ended.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        let mut running = self.running();
        let status = running.as_mut().and_then(|child| child.try_wait().ok().flatten());
        if status.is_some() {
            self.guard.forget();
            *running = None;
        }
        status
    }

    /// What the server has written.
    pub(crate) fn log(&self) -> String {
        fs::read(self.log_path()).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder().join("log")
    }

    fn running(&self) -> MutexGuard<'_, Option<Child>> {
        // A test that panicked while it held the lock does not keep the others from cleaning up.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    /// Leaves nothing behind, and does not panic. The guard removes the folder.
    fn drop(&mut self) {
        for signal in [self.last.0, Signal::KILL] {
            let pid = self.running().as_ref().map(Pid::from_child);
            let Some(pid) = pid else { return };
            let _ = kill_process(pid, signal);
            let _ = kill_process(pid, Signal::CONT);
            if self.ends() {
                return;
            }
        }
    }
}

/// A command without the caller's settings for the servers' programs, which would lead it to another server.
pub(crate) fn plain(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if ["PG", "REDISCLI_"].iter().any(|theirs| name.to_string_lossy().starts_with(theirs)) {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C");
    command
}

/// Runs a command to its end and gives what it wrote.
///
/// # Panics
/// With what it wrote on stderr, when it fails.
#[track_caller]
pub(crate) fn run(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    finished(&command, output)
}

/// The same, with a text on its standard input.
#[track_caller]
pub(crate) fn feed(mut command: Command, text: &str) -> String {
    let output = fed(&mut command, text);
    finished(&command, output)
}

/// The same, again as long as it fails with an error that contains `passing`.
///
/// # Panics
/// Also if it fails so for as long as [`until`] waits.
#[track_caller]
pub(crate) fn feed_again(command: impl Fn() -> Command, text: &str, passing: &str) -> String {
    let mut answer = String::new();
    until(&format!("no error is {passing:?}"), || {
        let mut command = command();
        let output = fed(&mut command, text);
        let failed = |output: &Output| !output.status.success();
        let passes =
            |output: &&Output| failed(output) && String::from_utf8_lossy(&output.stderr).contains(passing);
        if output.as_ref().ok().filter(passes).is_some() {
            return false;
        }
        answer = finished(&command, output);
        true
    });
    answer
}

fn fed(command: &mut Command, text: &str) -> std::io::Result<Output> {
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    spawned.and_then(|mut child| {
        std::thread::scope(|scope| {
            // From a thread: a command that writes before it has read everything must not wait for us. One that ends
            // without reading has a better reason to report than a broken pipe.
            let stdin = child.stdin.take();
            scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(text.as_bytes())));
            child.wait_with_output()
        })
    })
}

#[track_caller]
fn finished(command: &Command, output: std::io::Result<Output>) -> String {
    let name = command.get_program().to_string_lossy();
    let output = output.unwrap_or_else(|error| panic!("cannot run {name}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} ended with {}: {}", output.status, stderr.trim_end());
    String::from_utf8_lossy(&output.stdout).into_owned()
}
