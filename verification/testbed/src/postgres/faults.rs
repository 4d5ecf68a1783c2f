//! Faults of a server: kill, pause, and both of one backend.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::process::{run, until};

use super::Postgres;

impl Postgres {
    /// Sets the server's clock this many milliseconds ahead of the real one, or, if negative, behind it, while it runs.
    ///
    /// # Panics
    /// If the server was started without [`clock`](super::Options::clock).
    #[track_caller]
    pub fn set_clock(&self, milliseconds: i64) {
        self.server.set_clock(milliseconds);
    }

    /// `kill -9` of the whole server at one moment, as when the machine's memory runs out or its container is killed:
    /// the postmaster and all that belongs to it. Afterwards nothing of it runs, and [`start_again`](Self::start_again)
    /// recovers.
    #[track_caller]
    pub fn kill9(&self) {
        // Stopped, it starts nothing new while the rest is counted.
        self.server.halt();
        let others = self.processes();
        self.server.signal(Signal::KILL);
        for pid in &others {
            // One that ended by itself is no failure.
            let _ = kill_process(*pid, Signal::KILL);
        }
        self.server.wait();
        until("the killed server's processes are gone", || others.iter().all(|pid| !runs(*pid)));
    }

    /// Suspends every process of the server (SIGSTOP): connections stay open and are silent, new ones are
    /// made by the system and get no answer.
    #[track_caller]
    pub fn pause(&self) {
        self.server.halt();
        let others = self.processes();
        for pid in &others {
            let _ = kill_process(*pid, Signal::STOP);
        }
        until("the server is stopped", || others.iter().all(|pid| is_stopped(*pid)));
    }

    /// Lets a paused server, and each of its paused backends, go on.
    #[track_caller]
    pub fn resume(&self) {
        for pid in self.processes() {
            let _ = kill_process(pid, Signal::CONT);
        }
        // The last, so that it does not treat a child's silence as its death. One that just ended needs no signal.
        let _ = kill_process(self.server.pid(), Signal::CONT);
    }

    /// `kill -9` of one backend, by its `pg_backend_pid()`. PostgreSQL takes that for a crash: it ends all other
    /// connections and recovers, within the same postmaster.
    #[track_caller]
    pub fn kill_backend(&self, pid: u32) {
        assert!(self.try_kill_backend(pid), "{pid} is no process of this server");
    }

    /// The same, of one that may have ended by itself: whether it was there.
    pub fn try_kill_backend(&self, pid: u32) -> bool {
        self.signal_backend(pid, Signal::KILL).is_some()
    }

    /// Suspends one backend, with all locks that it holds.
    #[track_caller]
    pub fn pause_backend(&self, pid: u32) {
        assert!(self.try_pause_backend(pid), "{pid} is no process of this server");
    }

    /// The same, of one that may have ended by itself: whether it was there.
    pub fn try_pause_backend(&self, pid: u32) -> bool {
        let Some(pid) = self.signal_backend(pid, Signal::STOP) else { return false };
        until("the backend is stopped", || is_stopped(pid));
        true
    }

    /// Lets one backend go on. Nothing happens if it has ended.
    pub fn resume_backend(&self, pid: u32) {
        let _ = self.signal_backend(pid, Signal::CONT);
    }

    fn signal_backend(&self, pid: u32, signal: Signal) -> Option<Pid> {
        let found = self.processes().into_iter().find(|found| number(*found) == i64::from(pid))?;
        kill_process(found, signal).ok()?;
        Some(found)
    }

    /// All processes of the server but the postmaster.
    #[track_caller]
    fn processes(&self) -> Vec<Pid> {
        let all = parents();
        let mut found = vec![number(self.server.pid())];
        let mut at = 0;
        while let Some(parent) = found.get(at).copied() {
            found.extend(all.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| pid));
            at += 1;
        }
        found.into_iter().skip(1).filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).collect()
    }
}

fn number(pid: Pid) -> i64 {
    i64::from(pid.as_raw_nonzero().get())
}

/// Every process with its parent.
fn parents() -> Vec<(i64, i64)> {
    if !has_proc() {
        return parents_by_ps();
    }
    let processes = fs::read_dir("/proc").into_iter().flatten();
    let names = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    names.filter_map(|pid: i64| Some((pid, stat(pid)?.1))).collect()
}

fn has_proc() -> bool {
    Path::new("/proc/self/stat").exists()
}

/// Where there is no /proc.
fn parents_by_ps() -> Vec<(i64, i64)> {
    let mut ps = Command::new("ps");
    ps.args(["-A", "-o", "pid=,ppid="]);
    let pair = |line: &str| {
        let (pid, parent) = line.trim().split_once(' ')?;
        Some((pid.parse().ok()?, parent.trim().parse().ok()?))
    };
    run(ps).lines().filter_map(pair).collect()
}

/// State and parent of a process, from /proc.
fn stat(pid: i64) -> Option<(char, i64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // A program's name may contain anything, and is in brackets.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Whether a process is stopped, or has ended. Where there is no /proc, the signal is assumed to have worked.
fn is_stopped(pid: Pid) -> bool {
    !has_proc() || stat(number(pid)).is_none_or(|(state, _)| matches!(state, 'T' | 't' | 'Z'))
}

/// Whether a process runs; a zombie does not.
fn runs(pid: Pid) -> bool {
    if has_proc() {
        return stat(number(pid)).is_some_and(|(state, _)| state != 'Z');
    }
    rustix::process::test_kill_process(pid).is_ok()
}
