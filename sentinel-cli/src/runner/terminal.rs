//! The terminal. A process group of its own stands in the background, where reading from the terminal stops it. So the
//! command's group is brought to the foreground while it runs, as a shell does with a job.

use std::io;
use std::os::fd::AsFd as _;

use nix::sys::signal::{SigSet, Signal as Blocked};
use rustix::process::{Pid, Signal, getpgrp, kill_current_process_group, kill_process_group};
use rustix::termios::{isatty, tcgetpgrp, tcsetpgrp};

/// A terminal that was handed to the command. Dropping it takes the terminal back.
#[derive(Debug)]
pub(super) struct Terminal {
    group: Pid,
}

impl Terminal {
    /// Hands the terminal over, if standard input is one and we stand in its foreground.
    pub(super) fn hand_to(group: Pid) -> Option<Self> {
        is_ours().then(|| {
            // From the background, this signal would stop us when we write, and when we take the terminal back. The
            // threads that are started from here on inherit the mask; processes do not.
            let mut mask = SigSet::empty();
            mask.add(Blocked::SIGTTOU);
            let _ = mask.thread_block();
            give(group);
            Self { group }
        })
    }

    /// The command was stopped from the keyboard: stop as well, so that the shell takes over, and go on together. The
    /// lease may lapse meanwhile, as it does for every process that is stopped.
    pub(super) fn stop_together(&self) {
        give(getpgrp());
        let _ = kill_current_process_group(Signal::TSTP);
        // Here again after `fg` or `bg`.
        if is_ours() {
            give(self.group);
        }
        let _ = kill_process_group(self.group, Signal::CONT);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give(getpgrp());
    }
}

fn is_ours() -> bool {
    let stdin = io::stdin();
    isatty(&stdin) && tcgetpgrp(&stdin).is_ok_and(|foreground| foreground == getpgrp())
}

fn give(group: Pid) {
    // A terminal that has hung up is nobody's.
    let _ = tcsetpgrp(io::stdin().as_fd(), group);
}
