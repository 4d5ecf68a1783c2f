//! Waiting for somebody else's run: one watcher for a key, however many callers of this process wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::Core;
use super::retry::jittered;
use crate::address::Address;
use crate::record::{Record, State};

/// How often a watcher looks: it starts with the first and doubles up to the last.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const SLOWEST_LOOK: Duration = Duration::from_millis(500);

/// The keys that callers of this process wait for.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    watched: Mutex<HashMap<Address, watch::Sender<u64>>>,
}

impl Watchers {
    fn watched(&self) -> MutexGuard<'_, HashMap<Address, watch::Sender<u64>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever waits for a key in this process that it is worth asking again.
    pub(crate) fn wake(&self, address: &Address) {
        let watched = self.watched();
        if !watched.is_empty()
            && let Some(sender) = watched.get(address)
        {
            sender.send_modify(|turn| *turn += 1);
        }
    }

    /// Forgets a key that nobody waits for any more; whether it did.
    fn forget_unwatched(&self, address: &Address) -> bool {
        let mut watched = self.watched();
        let unwatched = watched.get(address).is_none_or(|sender| sender.receiver_count() == 0);
        if unwatched {
            watched.remove(address);
        }
        unwatched
    }
}

/// A place among those who wait for a key. Taken *before* asking, so that no change is missed in between.
#[derive(Debug)]
pub(crate) struct Watch(watch::Receiver<u64>);

impl Core {
    pub(crate) fn watch(self: &Arc<Self>, address: &Address) -> Watch {
        let mut watched = self.watchers.watched();
        if let Some(sender) = watched.get(address) {
            return Watch(sender.subscribe());
        }
        let (sender, receiver) = watch::channel(0);
        watched.insert(address.clone(), sender);
        drop(watched);
        tokio::spawn(look(Arc::downgrade(self), address.clone()));
        Watch(receiver)
    }
}

impl Watch {
    /// Waits until it is worth asking again.
    pub(crate) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // The watcher ended with its runtime: ask again, slowly.
            tokio::time::sleep(SLOWEST_LOOK).await;
        }
    }
}

async fn look(core: Weak<Core>, address: Address) {
    let mut pause = FIRST_LOOK;
    loop {
        tokio::time::sleep(jittered(pause)).await;
        pause = SLOWEST_LOOK.min(pause * 2);
        let Some(core) = core.upgrade() else { return };
        if core.watchers.forget_unwatched(&address) {
            return;
        }
        match core.store.inspect(&address).await {
            Ok(seen) if seen.record.as_ref().is_some_and(|r| is_in_progress(r, seen.now)) => {}
            // Settled, or the store has trouble: either way those who wait ask for themselves.
            _ => core.watchers.wake(&address),
        }
    }
}

fn is_in_progress(record: &Record, now: crate::StoreTime) -> bool {
    matches!(record.state, State::Claimed | State::Executing) && record.is_live(now)
}
