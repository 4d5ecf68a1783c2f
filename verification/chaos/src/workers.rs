//! The worker processes of a schedule, and what can happen to them.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use rustix::process::{Pid, Signal, kill_process};
use sentinel_testbed::until;

use crate::plan::Plan;

/// How often a schedule polls for progress before it goes on: a fault may have left none that could.
const MAX_POLLS: u32 = 100;

/// All workers of a schedule. Dropping it kills those that are left.
#[derive(Debug)]
pub(crate) struct Workers {
    program: PathBuf,
    pub(crate) plan: Plan,
    workers: Vec<(u32, Child)>,
    started: u32,
    pub(crate) killed: u32,
}

impl Workers {
    /// The program is this one; it is started as a worker.
    pub(crate) fn new(program: &Path, plan: Plan) -> Self {
        Self { program: program.to_owned(), plan, workers: Vec::new(), started: 0, killed: 0 }
    }

    /// One more process.
    pub(crate) fn start_one(&mut self) {
        self.started += 1;
        let plan = Plan { number: self.started, ..self.plan.clone() };
        let argument = serde_json::to_string(&plan).unwrap_or_else(|error| panic!("no plan: {error}"));
        let log = File::create(self.log(self.started)).unwrap_or_else(|error| panic!("no log: {error}"));
        let mut command = Command::new(&self.program);
        command.args(["worker", &argument]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        // What is sent to this program's group, by a terminal or a runner, ends the workers through their standard
        // input.
        let child = command.process_group(0).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start a worker: {error}"));
        self.workers.push((self.started, child));
    }

    fn log(&self, number: u32) -> PathBuf {
        self.plan.folder.join(format!("worker-{number}.log"))
    }

    /// Kills or stops one worker; returns what was done.
    pub(crate) fn inject(&mut self, rng: &mut StdRng) -> String {
        let at = rng.random_range(0..self.workers.len());
        let number = self.workers[at].0;
        if rng.random_ratio(1, 2) {
            self.kill(at);
            self.start_one();
            return format!("worker {number} is killed, and worker {} comes", self.started);
        }
        let long = self.plan.hard_ttl.mul_f64(rng.random_range(0.1..1.5));
        self.signal(at, Signal::STOP);
        pass(long);
        self.signal(at, Signal::CONT);
        format!("worker {number} is stopped for {long:?}")
    }

    /// `kill -9` of all at once; as many others come.
    pub(crate) fn kill_all(&mut self) {
        let count = self.workers.len();
        for at in 0..count {
            self.signal(at, Signal::KILL);
        }
        while !self.workers.is_empty() {
            self.kill(0);
        }
        (0..count).for_each(|_| self.start_one());
    }

    fn kill(&mut self, at: usize) {
        let (_, mut child) = self.workers.remove(at);
        self.killed += 1;
        // One that ended by itself is found by what it left undone.
        let _ = child.kill();
        let _ = child.wait();
    }

    fn signal(&self, at: usize, signal: Signal) {
        let pid = Pid::from_child(&self.workers[at].1);
        kill_process(pid, signal).unwrap_or_else(|error| panic!("a worker takes no signal: {error}"));
    }

    /// Waits until the workers have written this many more bytes, or for a limited time.
    pub(crate) fn wait_for_progress(&self, bytes: u64) {
        let enough = self.written() + bytes;
        for _ in 0..MAX_POLLS {
            if self.written() >= enough {
                return;
            }
            pass(Duration::from_millis(10));
        }
    }

    fn written(&self) -> u64 {
        let journal = |number| Plan { number, ..self.plan.clone() }.journal();
        (1..=self.started)
            .filter_map(|number| fs::metadata(journal(number)).ok())
            .map(|data| data.len())
            .sum()
    }

    /// Faults have stopped: every worker ends what it began. Returns how many there were in all.
    pub(crate) fn finish_all(mut self) -> Result<u32, String> {
        for (_, child) in &mut self.workers {
            drop(child.stdin.take().map(|mut stdin| stdin.write_all(b"stop\n")));
        }
        for (number, child) in &mut self.workers {
            let mut status = None;
            until("a worker ends what it began", || {
                status = child.try_wait().unwrap_or_default();
                status.is_some()
            });
            if !status.is_some_and(|status| status.success()) {
                let log = self.plan.folder.join(format!("worker-{number}.log"));
                let log = fs::read_to_string(log).unwrap_or_default();
                return Err(format!("worker {number} failed: {log}"));
            }
        }
        self.workers.clear();
        Ok(self.started)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for (_, child) in &mut self.workers {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits: this is how long a fault lasts. Nothing is decided by it.
pub(crate) fn pass(long: Duration) {
    let (_sender, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(long);
}
