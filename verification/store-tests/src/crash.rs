//! A server that is killed while a worker runs.

use std::time::Duration;

use sentinel_client::{Outcome, Sentinel};
use sentinel_core::CoordinationStore;

/// A worker whose server is killed and started again during its run records its result. `crash` does both.
pub async fn a_worker_whose_server_was_killed_meanwhile_records_its_result(
    store: impl CoordinationStore + 'static,
    crash: impl FnOnce() + Send + 'static,
) {
    let sentinel = Sentinel::new(store);
    let once = || sentinel.once::<String>("charge").hard_ttl(Duration::from_secs(600));
    let outcome = once()
        .run(|_| async move {
            crash();
            Ok(7)
        })
        .await
        .unwrap();
    assert!(matches!(outcome, Outcome::Completed(7)), "{outcome:?}");
    let again = once().run(|_| async { Ok(8) }).await.unwrap();
    assert!(matches!(again, Outcome::Replayed(7)), "{again:?}");
}
