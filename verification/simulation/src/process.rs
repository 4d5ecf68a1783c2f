//! Processes that may stop, go on, or die at any await.

use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Runs,
    /// Stopped: nothing of it moves until it goes on. Its clock does.
    Paused,
    /// Killed: nothing of it ever moves again.
    Dead,
}

#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) number: u32,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    life: Mutex<Life>,
    /// Not a `watch`, which wakes in a random order of its own.
    changed: Notify,
}

impl Process {
    pub(crate) fn new(number: u32) -> Self {
        let inner = Inner { life: Mutex::new(Life::Runs), changed: Notify::new() };
        Self { number, inner: Arc::new(inner) }
    }

    fn state(&self) -> MutexGuard<'_, Life> {
        self.inner.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn life(&self) -> Life {
        *self.state()
    }

    /// A killed process stays dead.
    pub(crate) fn set_life(&self, life: Life) {
        let mut now = self.state();
        if *now != Life::Dead {
            *now = life;
            self.inner.changed.notify_waiters();
        }
    }

    /// What the process does next, if it ever does: each point where it could stop or die waits here.
    pub(crate) async fn wait_until_running(&self) {
        loop {
            let changed = self.inner.changed.notified();
            match self.life() {
                Life::Runs => return,
                Life::Paused => changed.await,
                Life::Dead => return pending().await,
            }
        }
    }
}
