//! What the suite needs of a store under test.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sentinel_core::{CoordinationStore, Survey};

/// Opens stores for the suite. A law opens one of its own, keeps to a namespace of its own, and moves time only through
/// [`advance`](Harness::advance), so laws run in parallel on one shared server.
#[async_trait]
pub trait Harness: Sized + Send + Sync + 'static {
    /// Opens a store. Others may be open on the same server, file or process.
    async fn open() -> Self;

    /// A handle of the store that was opened. The suite calls this many times, and may use several handles at once.
    fn store(&self) -> Arc<dyn CoordinationStore>;

    /// Another handle of the same store, with nothing in common but the store itself: a connection, a cache, a lock of
    /// its own, as a second process has them. It follows the clock that [`advance`](Self::advance) moves. None: the
    /// harness cannot open one. The laws then use two results of [`store`](Self::store) instead.
    async fn another(&self) -> Option<Arc<dyn CoordinationStore>> {
        None
    }

    /// Closes the store and opens it again, as if all processes had ended and one had started. [`store`](Self::store)
    /// and [`another`](Self::another) return handles of the reopened store from then on. The suite drops its own
    /// handles before it calls this. Returns whether the harness can do this; if not, the laws about reopening cannot
    /// be checked.
    async fn reopen(&self) -> bool {
        false
    }

    /// The same store as a [`Survey`]. None: it is none. The laws about reads over all namespaces then check only what
    /// a [`CoordinationStore`] shows.
    fn survey(&self) -> Option<Arc<dyn Survey>> {
        None
    }

    /// Moves the clock of this store forward, for all requests from now on; other open stores keep theirs. A store on a
    /// server adds an offset to the server's clock, for tests only.
    async fn advance(&self, by: Duration);

    /// Sets that clock back, as the clock of a server may be. Returns whether the harness can do this; if not, the laws
    /// about such a clock cannot be checked.
    async fn set_back(&self, _by: Duration) -> bool {
        false
    }
}

/// A harness as a trait object: a store and its clock.
#[async_trait]
pub trait DynHarness: Send + Sync + 'static {
    /// The store.
    fn store(&self) -> Arc<dyn CoordinationStore>;

    /// Another handle of it; see [`Harness::another`].
    async fn another(&self) -> Option<Arc<dyn CoordinationStore>> {
        None
    }

    /// Closes the store and opens it again, and returns whether it could; see [`Harness::reopen`].
    async fn reopen(&self) -> bool {
        false
    }

    /// The same store as a survey; see [`Harness::survey`].
    fn survey(&self) -> Option<Arc<dyn Survey>> {
        None
    }

    /// Moves its clock forward.
    async fn advance(&self, by: Duration);

    /// Sets its clock back, and returns whether it could.
    async fn set_back(&self, by: Duration) -> bool;
}

#[async_trait]
impl<H: Harness> DynHarness for H {
    fn store(&self) -> Arc<dyn CoordinationStore> {
        Harness::store(self)
    }

    async fn another(&self) -> Option<Arc<dyn CoordinationStore>> {
        Harness::another(self).await
    }

    async fn reopen(&self) -> bool {
        Harness::reopen(self).await
    }

    fn survey(&self) -> Option<Arc<dyn Survey>> {
        Harness::survey(self)
    }

    async fn advance(&self, by: Duration) {
        Harness::advance(self, by).await;
    }

    async fn set_back(&self, by: Duration) -> bool {
        Harness::set_back(self, by).await
    }
}
