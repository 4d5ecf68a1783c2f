//! What a server warns of while a statement is out.
//!
//! A commit that waits for a synchronous standby can be cancelled by hand (`pg_cancel_backend`). The server then
//! answers as if all were well, and warns: the transaction is committed here, and may not be there. sqlx does not hand
//! warnings to its caller; it tells them as events. So a subscriber listens to those, for as long as the statement is
//! out.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::instrument::WithSubscriber as _;
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// What sqlx's events of a server's notices are called.
const NOTICES: &str = "sqlx::postgres::notice";

/// While there is one listener alone, tracing asks only whoever listens on the thread at hand whether an event interests
/// anyone: a warning that somebody else's connection is told first, where nobody listens, would be off for all, for good.
/// With these two, who are never listened with, there never is one alone.
static COMPANY: LazyLock<[Dispatch; 2]> = LazyLock::new(|| {
    std::array::from_fn(|_| {
        Dispatch::new(Listener(Arc::new(Heard { english: true, first: Mutex::default() })))
    })
});

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
        LazyLock::force(&COMPANY);
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// As sqlx tells what a server warns of.
    fn warn(text: &str) {
        tracing::event!(target: NOTICES, Level::WARN, message = text);
    }

    fn hears(warnings: &Warnings, text: &str) -> bool {
        warnings.over(async { warn(text) }).now_or_never();
        warnings.doubt().is_some_and(|heard| heard.contains(text))
    }

    #[test]
    fn a_warning_that_nobody_listened_to_silences_none_that_comes_later() {
        let warnings = Warnings::new(true);
        warn("terminating connection because of crash of another server process");
        assert_eq!(warnings.doubt(), None);
        assert!(hears(&warnings, "canceling wait for synchronous replication due to user request"));
        assert_eq!(warnings.doubt(), None, "it is told once");
    }

    #[test]
    fn in_another_language_every_warning_counts() {
        assert!(!hears(&Warnings::new(true), "skipping something"));
        assert!(hears(&Warnings::new(false), "skipping something"));
        let warnings = Warnings::new(false);
        warnings.over(async { tracing::warn!("not the server's word") }).now_or_never();
        assert_eq!(warnings.doubt(), None);
    }
}
