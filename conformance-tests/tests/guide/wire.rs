use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use my_store::MyStore;
use sentinel_conformance::{BreakableConnection, DynHarness, Traffic, cut_at_any_byte};
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::Stamped;
use sentinel_core::{
    Address, Clock as _, CoordinationStore, ErrorKind, Layer, Layered, ManualClock, StoreError, SystemClock,
};

/// What carries requests and replies, and can be cut. Yours is a proxy between the client and the server of your store.
#[derive(Debug, Default)]
struct Wire {
    passed: [AtomicU64; 2],
    cut: Mutex<Option<(Traffic, u64)>>,
}

impl Wire {
    /// Passes a message, and returns whether all of it arrived.
    fn pass(&self, traffic: Traffic, bytes: u64) -> bool {
        let mut cut = self.cut.lock().expect("no test panics with it");
        match *cut {
            Some((at, after)) if at == traffic && after < bytes => {
                *cut = None;
                self.passed[traffic as usize].fetch_add(after, SeqCst);
                false
            }
            _ => {
                self.passed[traffic as usize].fetch_add(bytes, SeqCst);
                true
            }
        }
    }
}

impl BreakableConnection for Wire {
    fn passed(&self, traffic: Traffic) -> u64 {
        self.passed[traffic as usize].load(SeqCst)
    }

    fn cut_after(&self, traffic: Traffic, bytes: u64) {
        *self.cut.lock().expect("no test panics with it") = Some((traffic, bytes));
    }

    fn cancel_cut(&self) {
        *self.cut.lock().expect("no test panics with it") = None;
    }
}

/// The client of a store whose server is at the other end of a wire.
#[derive(Debug)]
struct Client {
    server: Arc<dyn CoordinationStore>,
    wire: Arc<Wire>,
}

#[async_trait]
impl Layer for Client {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.server
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        // After the first byte has left, only the server's reply proves anything.
        let lost = || StoreError::ambiguous(ErrorKind::LostReply, "the connection broke");
        let request = format!("{address} {op:?}").len() as u64;
        if !self.wire.pass(Traffic::Requests, request) {
            return Err(lost());
        }
        let reply = op.send(&*self.server, address).await?;
        match self.wire.pass(Traffic::Replies, format!("{reply:?}").len() as u64) {
            true => Ok(reply),
            false => Err(lost()),
        }
    }
}

/// The server's records beside the wire, and the clock of both.
struct Beside(MyStore, Arc<ManualClock>);

#[async_trait]
impl DynHarness for Beside {
    fn store(&self) -> Arc<dyn CoordinationStore> {
        Arc::new(self.0.clone())
    }

    async fn advance(&self, by: Duration) {
        self.1.advance(by);
    }

    async fn set_back(&self, _: Duration) -> bool {
        false
    }
}

#[tokio::test]
async fn every_operation_takes_effect_once_wherever_its_connection_breaks() {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let store = MyStore::new(clock.clone());
    let wire = Arc::new(Wire::default());
    let behind = Layered(Client { server: Arc::new(store.clone()), wire: wire.clone() });
    let cuts = cut_at_any_byte(Arc::new(Beside(store, clock)), &behind, &*wire).await;
    assert!(cuts.carried_out > 0 && cuts.lost > 0, "{cuts:?}");
}
