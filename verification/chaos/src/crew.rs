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

/// How long a schedule waits for work to go on before it goes on itself: a strike may have left nobody who could.
const LOOKS: u32 = 100;

/// All workers of a schedule. Dropping it kills those that are left.
#[derive(Debug)]
pub(crate) struct Crew {
    program: PathBuf,
    pub(crate) plan: Plan,
    workers: Vec<(u32, Child)>,
    hired: u32,
    pub(crate) killed: u32,
}

impl Crew {
    /// The program is this one; it is told to be a worker.
    pub(crate) fn new(program: &Path, plan: Plan) -> Self {
        Self { program: program.to_owned(), plan, workers: Vec::new(), hired: 0, killed: 0 }
    }

    /// One more process.
    pub(crate) fn hire(&mut self) {
        self.hired += 1;
        let plan = Plan { number: self.hired, ..self.plan.clone() };
        let told = serde_json::to_string(&plan).unwrap_or_else(|error| panic!("no plan: {error}"));
        let log = File::create(self.log(self.hired)).unwrap_or_else(|error| panic!("no log: {error}"));
        let mut command = Command::new(&self.program);
        command.args(["worker", &told]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        // What is sent to this program's group, by a terminal or a runner, ends the workers through their standard input.
        let child = command.process_group(0).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start a worker: {error}"));
        self.workers.push((self.hired, child));
    }

    fn log(&self, number: u32) -> PathBuf {
        self.plan.folder.join(format!("worker-{number}.log"))
    }

    /// What happens to a worker, and to whom.
    pub(crate) fn strike(&mut self, rng: &mut StdRng) -> String {
        let at = rng.random_range(0..self.workers.len());
        let number = self.workers[at].0;
        if rng.random_ratio(1, 2) {
            self.kill(at);
            self.hire();
            return format!("worker {number} is killed, and worker {} comes", self.hired);
        }
        let long = self.plan.hard_ttl.mul_f64(rng.random_range(0.1..1.5));
        self.signal(at, Signal::STOP);
        pass(long);
        self.signal(at, Signal::CONT);
        format!("worker {number} stands still for {long:?}")
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
        (0..count).for_each(|_| self.hire());
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

    /// Waits until the workers have written so many bytes more, or for a while in vain.
    pub(crate) fn go_on(&self, bytes: u64) {
        let enough = self.written() + bytes;
        for _ in 0..LOOKS {
            if self.written() >= enough {
                return;
            }
            pass(Duration::from_millis(10));
        }
    }

    fn written(&self) -> u64 {
        let journal = |number| Plan { number, ..self.plan.clone() }.journal();
        (1..=self.hired).filter_map(|number| fs::metadata(journal(number)).ok()).map(|data| data.len()).sum()
    }

    /// All is calm: every worker ends what it began. Tells how many there were in all.
    pub(crate) fn dismiss(mut self) -> Result<u32, String> {
        for (_, child) in &mut self.workers {
            drop(child.stdin.take().map(|mut stdin| stdin.write_all(b"calm\n")));
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
        Ok(self.hired)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for (_, child) in &mut self.workers {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Lets time go by: how long a fault lasts. Nothing is judged by it.
pub(crate) fn pass(long: Duration) {
    let (_sender, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(long);
}
