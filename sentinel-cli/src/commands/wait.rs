//! Waiting for whoever holds a key.

use std::time::Duration;

use sentinel_core::{Address, CoordinationStore, State, StoreError};
use tokio::time::Instant;

use crate::runner::Signals;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Waits until nobody holds the record any more, the deadline is over, or a signal came. Only reads, and claims nothing:
/// a signal ends the wait between two looks, when it is certain that nothing of this call is on its way.
pub(super) async fn wait_for_turn(
    store: &dyn CoordinationStore,
    address: &Address,
    deadline: Option<Instant>,
    signals: &Signals,
) -> Result<(), StoreError> {
    let mut pause = FIRST_PAUSE;
    loop {
        let left = deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
        tokio::select! {
            _ = store.changed(address, pause.min(left)) => {}
            _ = signals.came() => return Ok(()),
        }
        let found = store.inspect(address).await?;
        let held = found.record.is_some_and(|record| {
            matches!(record.state, State::Claimed | State::Executing) && record.is_live(found.now)
        });
        if !held || deadline.is_some_and(|at| Instant::now() >= at) {
            return Ok(());
        }
        pause = LONGEST_PAUSE.min(pause * 3 / 2);
    }
}
