//! A command's process group, and what it is sent.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Authority, Signals};
use crate::output::note;

/// Between the request to end and the end.
const GRACE: Duration = Duration::from_secs(10);
/// How long what is left of a group may take to go by itself.
const SHORTLY: Duration = Duration::from_millis(200);
/// A process that was killed can still take this long to disappear.
const DISAPPEARS: Duration = Duration::from_secs(5);

/// A group under an authority.
#[derive(Debug)]
pub(super) struct Group<'a> {
    leader: Pid,
    authority: Authority,
    signals: &'a Signals,
    /// The loss of the authority was seen.
    lost: bool,
    /// The group was asked to end.
    asked: bool,
    /// The group was killed.
    killed: bool,
    kill_at: Instant,
}

impl<'a> Group<'a> {
    pub(super) fn new(leader: Pid, authority: Authority, signals: &'a Signals) -> Self {
        let kill_at = authority.hard;
        Self { leader, authority, signals, lost: false, asked: false, killed: false, kill_at }
    }

    /// Whether the group was asked to end, by us.
    pub(super) fn is_ending(&self) -> bool {
        self.asked
    }

    /// Whether the authority is lost or over: not only a notice that it will be.
    pub(super) fn is_ending_for_good(&self) -> bool {
        self.lost || self.killed || self.authority.is_over()
    }

    /// Waits for something of the group, forwards signals meanwhile, and ends the group when it must.
    pub(super) async fn watch_while<T>(&mut self, something: impl Future<Output = T>) -> T {
        let mut something = std::pin::pin!(something);
        let notice_at = self.authority.hard.checked_sub(self.authority.notice).unwrap_or(self.authority.hard);
        loop {
            tokio::select! {
                biased;
                done = &mut something => return done,
                () = sleep_until(self.kill_at), if !self.killed => self.kill(),
                () = self.authority.lost.cancelled(), if !self.lost => {
                    self.lost = true;
                    note("authority is lost: the command is asked to end, and killed in 10 s");
                    self.ask();
                }
                () = sleep_until(notice_at), if !self.asked => {
                    note("the hard deadline is near: the command is asked to end");
                    self.send_end();
                }
                number = self.signals.next() => self.forward(number),
            }
        }
    }

    /// Ends what is left of the group after its leader has gone, and waits until nothing is.
    pub(super) async fn end_what_is_left(&mut self) {
        let leader = self.leader;
        // A process that was sent a signal just now may be about to go.
        if self.watch_while(tokio::time::timeout(SHORTLY, gone(leader))).await.is_ok() {
            return;
        }
        if !self.asked {
            note(
                "processes of the command are left in the background: they are asked to end, and killed in 10 s",
            );
            self.ask();
        }
        let give_up = self.kill_at.max(Instant::now()) + DISAPPEARS;
        if self.watch_while(tokio::time::timeout_at(give_up, gone(leader))).await.is_err() {
            note("processes of the command are still there although they were killed");
        }
    }

    /// Asks the group to end, and kills it a grace later.
    fn ask(&mut self) {
        self.kill_at = self.kill_at.min(Instant::now() + GRACE);
        self.send_end();
    }

    fn send_end(&mut self) {
        self.asked = true;
        self.send(Signal::TERM);
        // One that is stopped could not hear it.
        self.send(Signal::CONT);
    }

    fn kill(&mut self) {
        self.killed = true;
        self.send(Signal::KILL);
    }

    fn forward(&self, number: i32) {
        let signal = [Signal::INT, Signal::TERM, Signal::QUIT, Signal::HUP];
        if let Some(signal) = signal.into_iter().find(|signal| signal.as_raw() == number) {
            self.send(signal);
        }
    }

    fn send(&self, signal: Signal) {
        // A group that is gone needs no signal.
        let _ = kill_process_group(self.leader, signal);
    }
}

/// Waits until a group has no members.
async fn gone(leader: Pid) {
    while test_kill_process_group(leader) != Err(rustix::io::Errno::SRCH) {
        sleep(Duration::from_millis(5)).await;
    }
}
