//! The queue in which processes wait to write.
//!
//! A connection that waits for SQLite's write lock retries after pauses that grow: the last one to come often gets it
//! first, and with many processes some wait for seconds. So before a transaction a store takes a lock of the operating
//! system on the log, which the system grants in the order of the requests. This decides the order only. The write lock
//! of SQLite decides which process writes, also where a file system has no such locks, and against programs that take
//! no turn.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::connection::filesystem;

/// Hands out turns. The lock is that of an open file: it ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct TurnQueue {
    shared: Arc<Shared>,
    has_helper: bool,
}

#[derive(Debug)]
struct Shared {
    log: File,
    state: Mutex<State>,
    changed: Condvar,
}

/// Between the thread that wants a turn and the helper that waits for the lock: such a wait cannot be cut short.
#[derive(Debug, Default)]
struct State {
    is_wanted: bool,
    is_granted: bool,
    is_helper_waiting: bool,
    is_over: bool,
}

/// While it lives, it is this process' turn.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Shared>);

impl Drop for Turn {
    fn drop(&mut self) {
        // If it cannot be unlocked, closing the file releases it.
        let _ = self.0.log.unlock();
    }
}

/// How a wait for a turn ended.
#[derive(Debug)]
pub(crate) enum Waited {
    Turn(Turn),
    /// The time is over, and other processes were still before this one.
    TimedOut,
    /// There are no turns here: SQLite's own waiting has to do.
    Unavailable,
}

impl TurnQueue {
    /// The log must be open by a connection: then no other process deletes it. None: it cannot be opened.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        // Elsewhere a lock on a file keeps others from writing to it.
        if !cfg!(unix) {
            return None;
        }
        let log = File::open(filesystem::log_of(path)).ok()?;
        let shared = Shared { log, state: Mutex::default(), changed: Condvar::new() };
        Some(Self { shared: Arc::new(shared), has_helper: false })
    }

    /// Waits for a turn.
    pub(crate) fn wait(&mut self, at_most: Duration) -> Waited {
        // A helper that is still waiting keeps its position in the queue.
        if !self.shared.state().is_helper_waiting {
            match self.shared.log.try_lock() {
                Ok(()) => return Waited::Turn(Turn(self.shared.clone())),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(_)) => return Waited::Unavailable,
            }
        }
        if !self.has_helper {
            let shared = self.shared.clone();
            let started =
                thread::Builder::new().name("sentinel-sqlite-queue".into()).spawn(move || help(&shared));
            if started.is_err() {
                return Waited::Unavailable;
            }
            self.has_helper = true;
        }
        self.shared.wait(at_most)
    }
}

impl Drop for TurnQueue {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn until<'a>(
        &self,
        state: MutexGuard<'a, State>,
        condition: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        self.changed.wait_while(state, |state| !condition(state)).unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(self: &Arc<Self>, at_most: Duration) -> Waited {
        let mut state = self.state();
        state.is_wanted = true;
        self.changed.notify_all();
        let waited = self.changed.wait_timeout_while(state, at_most, |state| !state.is_granted);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_wanted = false;
        match std::mem::take(&mut state.is_granted) {
            true => Waited::Turn(Turn(self.clone())),
            false => Waited::TimedOut,
        }
    }
}

/// Waits for the lock whenever a turn is wanted, and gives it back if no operation wants it any more by then.
fn help(shared: &Shared) {
    let mut state = shared.state();
    loop {
        state = shared.until(state, |state| state.is_over || (state.is_wanted && !state.is_granted));
        if state.is_over {
            return;
        }
        state.is_helper_waiting = true;
        drop(state);
        let locked = shared.log.lock().is_ok();
        state = shared.state();
        state.is_helper_waiting = false;
        if locked && state.is_wanted {
            state.is_granted = true;
            shared.changed.notify_all();
        } else if locked {
            let _ = shared.log.unlock();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn queue(path: &Path) -> TurnQueue {
        TurnQueue::at(path).unwrap()
    }

    fn file() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.db");
        std::fs::write(filesystem::log_of(&path), "").unwrap();
        (dir, path)
    }

    #[test]
    fn one_process_at_a_time_has_the_turn_and_passes_it_on() {
        let (_dir, path) = file();
        let (mut first, mut second) = (queue(&path), queue(&path));
        let Waited::Turn(turn) = first.wait(Duration::ZERO) else { panic!("no other process is waiting") };
        assert!(matches!(second.wait(Duration::from_millis(1)), Waited::TimedOut));
        let waiting = thread::spawn(move || matches!(second.wait(LONG), Waited::Turn(_)));
        drop(turn);
        assert!(waiting.join().unwrap());
        assert!(matches!(first.wait(LONG), Waited::Turn(_)), "the other one has ended");
    }

    #[test]
    fn a_turn_is_given_back_if_its_wait_has_timed_out() {
        let (_dir, path) = file();
        let (mut first, mut second, mut third) = (queue(&path), queue(&path), queue(&path));
        let Waited::Turn(turn) = first.wait(LONG) else { panic!("no other process is waiting") };
        assert!(matches!(second.wait(Duration::from_millis(1)), Waited::TimedOut));
        drop(turn);
        // The second one still lives, and its helper gets the turn before or after this one.
        assert!(matches!(third.wait(LONG), Waited::Turn(_)));
        assert!(matches!(second.wait(LONG), Waited::Turn(_)));
    }

    #[test]
    fn waiting_processes_are_served_in_order() {
        let (_dir, path) = file();
        let mut first = queue(&path);
        let Waited::Turn(turn) = first.wait(LONG) else { panic!("no other process is waiting") };
        let served = Arc::new(Mutex::new(Vec::new()));
        let waiting: Vec<_> = (0..8)
            .map(|n| {
                let (mut queue, served) = (queue(&path), served.clone());
                let shared = queue.shared.clone();
                let thread = thread::spawn(move || {
                    let Waited::Turn(turn) = queue.wait(LONG) else { panic!("not served") };
                    served.lock().unwrap().push(n);
                    drop(turn);
                });
                while !(shared.state().is_helper_waiting && are_blocked(n + 1)) {
                    thread::yield_now();
                }
                thread
            })
            .collect();
        drop(turn);
        waiting.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*served.lock().unwrap(), (0..8).collect::<Vec<_>>());
    }

    /// Whether at least `count` threads of this process are waiting for a lock on a file, as the system lists them.
    fn are_blocked(count: usize) -> bool {
        let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
        let ours = format!(" {} ", std::process::id());
        let waiting = |queue: &&str| queue.contains("-> FLOCK") && queue.contains(&ours);
        !cfg!(target_os = "linux") || locks.lines().filter(waiting).count() >= count
    }
}
