//! A store that counts what it is asked, and can be out of reach.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use sentinel::kernel::{Op, Reply};
use sentinel::prelude::*;
use sentinel::record::Address;
use sentinel::store::operation::Stamped;
use sentinel::store::{ErrorKind, Inspection, Layer, Layered, StoreError};

/// Counts of requests, and a switch that cuts the store off.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests {
    operations: Arc<AtomicU64>,
    reads: Arc<AtomicU64>,
    is_away: Arc<AtomicBool>,
    is_unreadable: Arc<AtomicBool>,
}

impl Requests {
    pub(crate) fn total(&self) -> u64 {
        self.operations() + self.reads.load(Ordering::SeqCst)
    }

    pub(crate) fn operations(&self) -> u64 {
        self.operations.load(Ordering::SeqCst)
    }

    /// Cuts the store off, or lets it be reached again.
    pub(crate) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    /// Lets reads of records fail, or be answered again.
    pub(crate) fn set_unreadable(&self, is_unreadable: bool) {
        self.is_unreadable.store(is_unreadable, Ordering::SeqCst);
    }

    fn reached(&self) -> Result<(), StoreError> {
        match self.is_away.load(Ordering::SeqCst) {
            true => Err(StoreError::not_applied(ErrorKind::Unreachable, "cut off by the test")),
            false => Ok(()),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Counts {
    inner: Arc<dyn CoordinationStore>,
    requests: Requests,
}

#[async_trait]
impl Layer for Counts {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.inner
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        self.requests.operations.fetch_add(1, Ordering::SeqCst);
        self.requests.reached()?;
        op.send(&*self.inner, address).await
    }

    async fn on_inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        self.requests.reads.fetch_add(1, Ordering::SeqCst);
        self.requests.reached()?;
        if self.requests.is_unreadable.load(Ordering::SeqCst) {
            return Err(StoreError::not_applied(ErrorKind::Unreachable, "unreadable for the test"));
        }
        self.inner.inspect(address).await
    }
}

/// A store whose requests are counted, and the counts.
pub(crate) fn counted(inner: Arc<dyn CoordinationStore>) -> (Layered<Counts>, Requests) {
    let requests = Requests::default();
    (Layered(Counts { inner, requests: requests.clone() }), requests)
}
