//! What can happen to a server.

use rustix::process::Signal;

use super::Redis;

impl Redis {
    /// `kill -9`: nothing is written any more. What the server had handed to the system is still there; what a power
    /// failure would take of it, [`cut_append_only_file`](Self::cut_append_only_file) takes.
    #[track_caller]
    pub fn kill(&self) {
        self.server.signal(Signal::KILL);
        self.server.wait();
    }

    /// Stops the server in its tracks (SIGSTOP): connections stay open and are silent, new ones are made by the system
    /// and get no answer.
    #[track_caller]
    pub fn pause(&self) {
        self.server.halt();
    }

    /// Lets a paused server go on.
    #[track_caller]
    pub fn resume(&self) {
        self.server.signal(Signal::CONT);
    }
}
