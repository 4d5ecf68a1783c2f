//! Small packets, and connections that break at any byte, through a proxy.

use std::sync::Arc;

use sentinel_conformance::{BreakableConnection, DynHarness, Traffic, cut_at_any_byte};
use sentinel_core::CoordinationStore;
use sentinel_core::operation::ClaimReply;
use sentinel_testbed::{Direction, Proxy};

use crate::fixtures::{claimed, complete, execution, fused, result};

/// A proxy, as the suite breaks it.
struct Breakable<'a>(&'a Proxy);

impl Breakable<'_> {
    fn of(&self, traffic: Traffic) -> &Direction {
        match traffic {
            Traffic::Requests => self.0.requests(),
            Traffic::Replies => self.0.replies(),
        }
    }
}

impl BreakableConnection for Breakable<'_> {
    fn passed(&self, traffic: Traffic) -> u64 {
        self.of(traffic).passed()
    }

    fn cut_after(&self, traffic: Traffic, bytes: u64) {
        self.of(traffic).cut_after(bytes);
    }

    fn cancel_cut(&self) {
        self.0.heal();
    }
}

/// Requests and replies that arrive in small packets, through the proxy before the store, are no error.
pub async fn small_packets_are_no_error(proxy: &Proxy, store: &dyn CoordinationStore) {
    proxy.requests().slice(7);
    proxy.replies().slice(5);
    let address = execution("small packets");
    let grant = claimed(store, &address, &fused()).await;
    let long = "a receipt ".repeat(1_000);
    store.complete(&address, &complete(grant, &long)).await.unwrap();
    let replayed = store.claim(&address, &fused()).await.unwrap().reply;
    assert!(matches!(replayed, ClaimReply::Completed { result: received, .. } if received == result(&long)));
}

/// Each operation takes effect once, or not at all, wherever its connection breaks: `store` is reached through the
/// proxy, and `direct` is the same store without it.
#[expect(clippy::print_stdout, reason = "the output of a test, shown on demand")]
pub async fn every_operation_takes_effect_once(
    direct: Arc<dyn DynHarness>,
    proxy: &Proxy,
    store: &dyn CoordinationStore,
) {
    let cuts = cut_at_any_byte(direct, store, &Breakable(proxy)).await;
    println!("{cuts:?}");
}
