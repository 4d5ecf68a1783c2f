//! What a server warns of while a statement is out.
//!
//! A commit that waits for a synchronous standby can be cancelled by hand (`pg_cancel_backend`). The server then
//! answers as if all were well, and warns: the transaction is committed here, and may not be there. sqlx does not hand
//! warnings to its caller; it tells them as events. So a subscriber listens to those, for as long as the statement is
//! out.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::instrument::WithSubscriber as _;
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// What sqlx's events of a server's notices are called.
const NOTICES: &str = "sqlx::postgres::notice";

/// Listens to one connection.
#[derive(Clone)]
pub(crate) struct Warnings {
    heard: Arc<Heard>,
    dispatch: Dispatch,
}

impl fmt::Debug for Warnings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Warnings").field(&self.heard.first).finish()
    }
}

impl Warnings {
    /// Where the server's words are not English, every warning counts.
    pub(crate) fn new(english: bool) -> Self {
        let heard = Arc::new(Heard { english, first: Mutex::default() });
        Self { dispatch: Dispatch::new(Listener(heard.clone())), heard }
    }

    /// Listens while something is done.
    pub(crate) async fn over<T>(&self, doing: impl Future<Output = T>) -> T {
        doing.with_subscriber(self.dispatch.clone()).await
    }

    /// What was heard that leaves the last commit in doubt.
    pub(crate) fn doubt(&self) -> Option<String> {
        self.heard.first.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Whether events of warnings exist in this program: `tracing` can be built without them.
pub(crate) fn are_heard() -> bool {
    STATIC_MAX_LEVEL >= LevelFilter::WARN
}

struct Heard {
    english: bool,
    first: Mutex<Option<String>>,
}

impl Visit for &Heard {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" && (!self.english || text.contains("synchronous replication")) {
            self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
        }
    }
}

struct Listener(Arc<Heard>);

fn is_warning(metadata: &Metadata<'_>) -> bool {
    metadata.target() == NOTICES && *metadata.level() <= Level::WARN
}

impl Subscriber for Listener {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_warning(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_warning(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::WARN)
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut &*self.0);
    }

    // Nothing here opens a span: `enabled` says no to each.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
