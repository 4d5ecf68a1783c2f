//! A command's process group, and the signals that it gets.

use std::process::Child;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, kill_process, kill_process_group, test_kill_process, test_kill_process_group,
    waitpgid,
};
use tokio::time::{Instant, sleep, sleep_until};

use super::command::{Authority, Rest, Why};
use super::guard::GuardKeeper;
use super::process;
use super::signals::Signals;
use crate::output::note;

/// The time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);
/// How long the remaining processes may take to end by themselves.
const SHORTLY: Duration = Duration::from_millis(200);
/// A process that was killed can still take this long to disappear.
const DISAPPEARS: Duration = Duration::from_secs(5);
/// Between two checks of what is left: the first pause, the longest while it is being ended, and the longest otherwise.
const PAUSES: [Duration; 3] = [Duration::from_millis(5), Duration::from_millis(100), Duration::from_secs(1)];

/// A group under an authority.
#[derive(Debug)]
pub(super) struct Group<'a> {
    leader: Pid,
    authority: Authority,
    signals: &'a Signals,
    guard: GuardKeeper,
    /// Why this program asked the group to end.
    asked: Option<Why>,
    /// The loss of the authority was noticed.
    lost: bool,
    /// A signal that asks to end was forwarded.
    signalled: bool,
    leader_ended: bool,
    killed_at: Option<Instant>,
    kill_at: Instant,
    reported: bool,
}

impl<'a> Group<'a> {
    pub(super) fn new(leader: Pid, authority: Authority, signals: &'a Signals, guard: GuardKeeper) -> Self {
        let kill_at = authority.hard;
        Self {
            leader,
            authority,
            signals,
            guard,
            asked: None,
            lost: false,
            signalled: false,
            leader_ended: false,
            killed_at: None,
            kill_at,
            reported: false,
        }
    }

    /// Whether this program asked the group to end.
    pub(super) fn is_ending(&self) -> bool {
        self.asked.is_some()
    }

    /// Why the command was asked to end, if it was: its authority is lost or over, or will be over soon.
    pub(super) fn why(&self) -> Option<Why> {
        if Instant::now() >= self.authority.hard {
            Some(Why::Deadline)
        } else if self.lost || self.authority.lost.is_cancelled() {
            Some(Why::Lost)
        } else {
            self.asked
        }
    }

    /// Waits for an event of the group. Meanwhile it forwards signals, and ends the group when necessary.
    pub(super) async fn watch_while<T>(&mut self, something: impl Future<Output = T>) -> T {
        let mut something = std::pin::pin!(something);
        let notice_at = self.authority.hard.checked_sub(self.authority.notice).unwrap_or(self.authority.hard);
        loop {
            tokio::select! {
                biased;
                done = &mut something => return done,
                () = sleep_until(self.kill_at), if self.killed_at.is_none() => self.kill(),
                () = self.authority.lost.cancelled(), if !self.lost => {
                    self.lost = true;
                    self.ask(Why::Lost);
                }
                () = sleep_until(notice_at), if self.asked.is_none() => {
                    note("the hard deadline is near: sending SIGTERM to the command");
                    self.send_end(Why::Notice);
                }
                number = self.signals.next() => self.forward(number),
                () = self.guard.is_missing() => self.guard.replace().await,
            }
        }
    }

    /// After the leader has ended: waits until no process of the group is left, or ends them first. Returns whether
    /// none is left.
    pub(super) async fn end_what_is_left(&mut self, rest: Rest, leader: &mut Child) -> bool {
        self.leader_ended = true;
        if !process::are_known() {
            // Otherwise the leader is not reaped yet, so that the system does not reuse the number of its group.
            let _ = leader.wait();
        }
        // A process that got a signal just now may be about to end.
        let shortly = Instant::now() + SHORTLY;
        let [mut pause, while_ending, otherwise] = PAUSES;
        let mut waits = true;
        while !is_gone(self.leader) {
            let now = Instant::now();
            if waits && now >= shortly {
                waits = false;
                self.decide_about(rest);
            }
            if self.killed_at.is_some_and(|at| now >= at + DISAPPEARS) && self.may_give_up(rest) {
                return false;
            }
            self.watch_while(sleep(pause)).await;
            pause = (pause * 3 / 2).min(if self.asked.is_some() { while_ending } else { otherwise });
        }
        true
    }

    /// Releases the guard, unless processes are `left` that should have ended.
    pub(super) fn end(self, left: bool, mut leader: Child) {
        if !left {
            self.guard.done();
        }
        let _ = leader.wait();
    }

    /// Processes still remain: ends them, or prints which ones the program waits for.
    fn decide_about(&mut self, rest: Rest) {
        if self.asked.is_some() {
            return;
        }
        let left = listed(self.leader);
        if rest == Rest::IsAwaited && !self.signalled {
            note(&format!("{left} still in the background: the lease is kept until they end"));
        } else {
            note(&format!("{left} still in the background"));
            self.ask(Why::LeftBehind);
        }
    }

    /// A lease that is kept for the group is kept until the authority ends.
    fn may_give_up(&self, rest: Rest) -> bool {
        let over = self.lost || Instant::now() >= self.authority.hard + DISAPPEARS;
        let gives_up = over || rest != Rest::IsAwaited;
        if gives_up {
            note(&format!("{} still running, although SIGKILL was sent", listed(self.leader)));
        }
        gives_up
    }

    /// Asks the group to end, and kills it after the grace time.
    fn ask(&mut self, why: Why) {
        let now = Instant::now();
        self.kill_at = self.kill_at.min(now + GRACE);
        let rest = self.kill_at.saturating_duration_since(now).as_millis().div_ceil(1_000);
        // At the hard deadline it is killed without delay.
        if rest > 0 && self.killed_at.is_none() {
            let reason = if why == Why::Lost { "the authority of this run is lost: " } else { "" };
            note(&format!("{reason}sending SIGTERM to the command, and SIGKILL in {rest} s"));
        }
        self.send_end(why);
    }

    fn send_end(&mut self, why: Why) {
        self.asked = Some(why);
        self.send(Signal::TERM);
        // A stopped process handles the signal only after it is continued.
        self.send(Signal::CONT);
    }

    fn kill(&mut self) {
        self.killed_at = Some(Instant::now());
        self.send(Signal::KILL);
    }

    fn forward(&mut self, number: i32) {
        // The command may give these two a meaning of its own; they end a process that does not handle them.
        let own = [Signal::USR1, Signal::USR2].into_iter().find(|signal| signal.as_raw() == number);
        if let Some(signal) = own {
            // A process that has ended needs no signal.
            let _ = kill_process(self.leader, signal);
            return;
        }
        let ends = [Signal::INT, Signal::TERM, Signal::QUIT, Signal::HUP, Signal::ALARM];
        let Some(signal) = ends.into_iter().find(|signal| signal.as_raw() == number) else { return };
        self.signalled = true;
        self.send(signal);
        self.send(Signal::CONT);
        if self.leader_ended && self.asked.is_none() {
            self.ask(Why::LeftBehind);
        }
    }

    fn send(&mut self, signal: Signal) {
        // A group that is gone needs no signal.
        let sent = kill_process_group(self.leader, signal);
        if self.reported || signal == Signal::CONT {
            return;
        }
        let refused = |pid: &Pid| test_kill_process(*pid) == Err(Errno::PERM);
        let others: Vec<Pid> = process::members(self.leader).into_iter().filter(refused).collect();
        if sent == Err(Errno::PERM) || !others.is_empty() {
            self.reported = true;
            note(&format!(
                "the system does not allow this user to signal {} of the command: they belong to another \
                user, as after set-uid, and may keep running",
                named(&others)
            ));
        }
    }
}

/// Whether a group has no members that have not ended.
fn is_gone(leader: Pid) -> bool {
    if process::are_known() {
        process::members(leader).is_empty()
    } else {
        // The first process of a container is the parent of processes whose own parent has ended.
        while matches!(waitpgid(leader, WaitOptions::NOHANG), Ok(Some(_))) {}
        test_kill_process_group(leader) == Err(Errno::SRCH)
    }
}

/// `process 7 of the command is`, `processes 7, 8 of the command are`.
fn listed(leader: Pid) -> String {
    let members = process::members(leader);
    format!("{} of the command {}", named(&members), if members.len() == 1 { "is" } else { "are" })
}

/// `process 7`, or `processes 7, 8, ..` with the first few numbers.
fn named(pids: &[Pid]) -> String {
    let numbers: Vec<String> = pids.iter().take(5).map(|pid| pid.as_raw_nonzero().to_string()).collect();
    let more = if pids.len() > numbers.len() { ", .." } else { "" };
    match numbers.as_slice() {
        [] => "processes".to_owned(),
        [one] => format!("process {one}"),
        _ => format!("processes {}{more}", numbers.join(", ")),
    }
}
