//! A store on a real server, in one deployment mode, with a clock that a test moves.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sentinel_core::{CoordinationStore, Survey};

type Open<S> = Box<dyn Fn() -> BoxFuture<'static, S> + Send + Sync>;

/// A store in one deployment mode. Its clock is the server's plus an offset.
pub struct Deployment<S> {
    /// The store that was opened first.
    pub store: S,
    /// What is added to the server's clock, in microseconds.
    pub offset: Arc<AtomicI64>,
    open: Open<S>,
    /// The store after it was opened again.
    reopened: Mutex<Option<S>>,
    is_set_back: bool,
    _needed: Option<Box<dyn Any + Send + Sync>>,
}

impl<S> Deployment<S> {
    /// A store whose clock has this offset. `open` opens another one on the same clock, with connections of its own.
    pub fn new<F>(store: S, offset: Arc<AtomicI64>, open: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = S> + Send + 'static,
    {
        let open: Open<S> = Box::new(move || Box::pin(open()));
        Self { store, offset, open, reopened: Mutex::new(None), is_set_back: true, _needed: None }
    }

    /// The suite must not set this clock back.
    #[must_use]
    pub fn only_forward(self) -> Self {
        Self { is_set_back: false, ..self }
    }

    /// Drops this with the store, not earlier.
    #[must_use]
    pub fn needs(self, needed: impl Any + Send + Sync) -> Self {
        Self { _needed: Some(Box::new(needed)), ..self }
    }
}

/// What the suite asks of a harness.
impl<S: CoordinationStore + Clone> Deployment<S> {
    /// The store, as it was opened last.
    pub fn newest(&self) -> Arc<dyn CoordinationStore> {
        let reopened = self.reopened.lock().unwrap().clone();
        Arc::new(reopened.unwrap_or_else(|| self.store.clone()))
    }

    /// The same as a survey.
    pub fn survey(&self) -> Arc<dyn Survey>
    where
        S: Survey,
    {
        let reopened = self.reopened.lock().unwrap().clone();
        Arc::new(reopened.unwrap_or_else(|| self.store.clone()))
    }

    /// Another store on the same clock, with connections of its own.
    pub async fn another(&self) -> Arc<dyn CoordinationStore> {
        Arc::new((self.open)().await)
    }

    /// Opens the store again.
    pub async fn reopen(&self) {
        let store = (self.open)().await;
        *self.reopened.lock().unwrap() = Some(store);
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.offset.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
    }

    /// Sets the clock back. Returns whether it may be.
    pub fn set_back(&self, by: Duration) -> bool {
        if self.is_set_back {
            self.offset.fetch_sub(by.as_micros() as i64, Ordering::SeqCst);
        }
        self.is_set_back
    }
}

impl<S> fmt::Debug for Deployment<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deployment").field("offset", &self.offset).finish_non_exhaustive()
    }
}

/// Makes a harness of each deployment: a name, and an expression whose future is the [`Deployment`].
#[macro_export]
macro_rules! deployments {
    ($store:ty; $($(#[$about:meta])* $mode:ident = $open:expr;)*) => {$(
        $(#[$about])*
        pub(crate) struct $mode($crate::deployment::Deployment<$store>);

        $(#[$about])*
        #[$crate::async_trait]
        impl $crate::sentinel_conformance::Harness for $mode {
            async fn open() -> Self {
                Self($open.await)
            }

            fn store(&self) -> ::std::sync::Arc<dyn $crate::sentinel_core::CoordinationStore> {
                self.0.newest()
            }

            async fn another(
                &self,
            ) -> Option<::std::sync::Arc<dyn $crate::sentinel_core::CoordinationStore>> {
                Some(self.0.another().await)
            }

            async fn reopen(&self) -> bool {
                self.0.reopen().await;
                true
            }

            fn survey(&self) -> Option<::std::sync::Arc<dyn $crate::sentinel_core::Survey>> {
                Some(self.0.survey())
            }

            async fn advance(&self, by: ::std::time::Duration) {
                self.0.advance(by);
            }

            async fn set_back(&self, by: ::std::time::Duration) -> bool {
                self.0.set_back(by)
            }
        }
    )*};
}
