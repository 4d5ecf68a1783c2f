//! The terminal. A process group of its own is in the background, where reading from the terminal stops it. So the
//! command's group is brought to the foreground, as a shell does with a job.
//!
//! Where this process is the only one of its job, the command gets the terminal before it starts: some programs check
//! whether they have it. In a pipeline the other processes may need it (`sentinel .. | less`): there the command gets
//! it when it asks for it, which stops it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt as _;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpgrp, getpid, kill_current_process_group, kill_process_group};
use rustix::termios::{tcgetpgrp, tcsetpgrp};
use tokio::time::sleep;

use super::{process, signals};

/// How often a command that waits for the terminal gets a chance.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The terminal of this process. Dropping it takes the terminal back.
#[derive(Debug)]
pub(super) struct Terminal {
    tty: File,
    command: Pid,
    /// This program gave the terminal to the command.
    handed: bool,
    /// The command is stopped until it can have the terminal.
    waits: bool,
}

impl Terminal {
    /// `None`: this process has no terminal.
    pub(super) fn of(command: Pid) -> Option<Self> {
        let tty = File::options().read(true).write(true).open("/dev/tty").ok()?;
        let mut terminal = Self { tty, command, handed: false, waits: false };
        if terminal.is_ours() && !is_in_a_pipeline() {
            terminal.hand_over();
        }
        Some(terminal)
    }

    /// The command was stopped by this signal.
    pub(super) fn stopped(&mut self, number: i32) {
        let asks = [Signal::TTIN, Signal::TTOU].into_iter().find(|signal| signal.as_raw() == number);
        if self.handed {
            self.stop_together();
        } else if let Some(signal) = asks {
            self.waits = true;
            self.poll();
            if self.waits {
                // Stop, so that the shell reports it. Execution continues here after `fg` or `bg`, or at once without a
                // shell.
                let _ = kill_current_process_group(signal);
                self.poll();
            }
        }
    }

    /// Returns when a command that waits for the terminal should get another chance.
    pub(super) async fn is_waited_for(&self) {
        if self.waits {
            sleep(POLL_INTERVAL).await;
        } else {
            std::future::pending().await
        }
    }

    /// Hands the terminal to a command that waits for it, if this process is in its foreground.
    pub(super) fn poll(&mut self) {
        if self.waits && self.is_ours() {
            self.waits = false;
            self.hand_over();
            let _ = kill_process_group(self.command, Signal::CONT);
        }
    }

    /// The command was stopped from the keyboard: stop as well, so that the shell takes over, and go on together. The
    /// lease may lapse meanwhile, as it does for every process that is stopped.
    fn stop_together(&mut self) {
        self.take_back();
        let _ = kill_current_process_group(Signal::TSTP);
        signals::stop_here();
        // Execution continues here after `fg` or `bg`.
        if self.is_ours() {
            self.hand_over();
        }
        let _ = kill_process_group(self.command, Signal::CONT);
    }

    fn is_ours(&self) -> bool {
        tcgetpgrp(&self.tty).is_ok_and(|foreground| foreground == getpgrp())
    }

    // SIGTTOU is blocked: from the background it would stop this process when it takes the terminal back. A terminal
    // that has hung up belongs to no process.
    fn hand_over(&mut self) {
        self.handed = tcsetpgrp(&self.tty, self.command).is_ok();
    }

    fn take_back(&mut self) {
        if std::mem::take(&mut self.handed) {
            let _ = tcsetpgrp(&self.tty, getpgrp());
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.take_back();
    }
}

/// Whether processes of this job, besides those that started this one, may want the terminal.
fn is_in_a_pipeline() -> bool {
    // The process that reads from a pipe may start only now.
    leads_to_a_pipe(io::stdout()) || leads_to_a_pipe(io::stderr()) || has_neighbours()
}

fn leads_to_a_pipe(output: impl AsFd) -> bool {
    let file = output.as_fd().try_clone_to_owned().map(File::from);
    file.and_then(|file| file.metadata()).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

fn has_neighbours() -> bool {
    let own = getpgrp().as_raw_nonzero().get();
    let job: Vec<_> = process::entries().filter(|entry| entry.group == own && entry.alive).collect();
    let mut line = vec![getpid().as_raw_nonzero().get()];
    while let Some(parent) =
        job.iter().find(|entry| Some(&entry.pid) == line.last()).map(|entry| entry.parent)
    {
        line.push(parent);
    }
    job.iter().any(|entry| !line.contains(&entry.pid))
}
