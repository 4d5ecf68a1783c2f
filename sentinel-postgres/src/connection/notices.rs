//! The warnings that a server sends while a statement is in progress.
//!
//! A commit that waits for a synchronous standby can be cancelled by hand (`pg_cancel_backend`). The server then
//! reports success, and sends a warning: the transaction is committed here, and may not be on the standby. sqlx does
//! not return warnings to its caller; it emits them as `tracing` events. A subscriber captures those while the
//! statement is in progress.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::instrument::WithSubscriber as _;
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// The name of sqlx's events of a server's notices.
const NOTICES: &str = "sqlx::postgres::notice";

/// While only one dispatcher exists, tracing asks only the current thread's dispatcher whether an event is of interest.
/// If another connection's warning came first, on a thread without a dispatcher, that callsite would stay disabled for
/// all dispatchers. These two are never used to capture; with them there is never only one.
static KEEP_CALLSITES_ENABLED: LazyLock<[Dispatch; 2]> = LazyLock::new(|| {
    std::array::from_fn(|_| {
        Dispatch::new(CapturingSubscriber(Arc::new(Captured { english: true, first: Mutex::default() })))
    })
});

/// Captures the warnings of one connection.
#[derive(Clone)]
pub(crate) struct NoticeListener {
    captured: Arc<Captured>,
    dispatch: Dispatch,
}

impl fmt::Debug for NoticeListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NoticeListener").field(&self.captured.first).finish()
    }
}

impl NoticeListener {
    /// Where the server's messages are not in English, every warning counts.
    pub(crate) fn new(english: bool) -> Self {
        LazyLock::force(&KEEP_CALLSITES_ENABLED);
        let captured = Arc::new(Captured { english, first: Mutex::default() });
        Self { dispatch: Dispatch::new(CapturingSubscriber(captured.clone())), captured }
    }

    /// Captures warnings while a future runs.
    pub(crate) async fn over<T>(&self, doing: impl Future<Output = T>) -> T {
        doing.with_subscriber(self.dispatch.clone()).await
    }

    /// The captured warning that leaves the last commit in doubt.
    pub(crate) fn doubt(&self) -> Option<String> {
        self.captured.first.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Whether events of warnings exist in this program: `tracing` can be built without them.
pub(crate) fn are_captured() -> bool {
    STATIC_MAX_LEVEL >= LevelFilter::WARN
}

struct Captured {
    english: bool,
    first: Mutex<Option<String>>,
}

impl Visit for &Captured {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" && (!self.english || text.contains("synchronous replication")) {
            self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
        }
    }
}

struct CapturingSubscriber(Arc<Captured>);

fn is_warning(metadata: &Metadata<'_>) -> bool {
    metadata.target() == NOTICES && *metadata.level() <= Level::WARN
}

impl Subscriber for CapturingSubscriber {
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

    // Nothing here opens a span: `enabled` is false for each.
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

    /// As sqlx reports a server's warning.
    fn warn(text: &str) {
        tracing::event!(target: NOTICES, Level::WARN, message = text);
    }

    fn captures(listener: &NoticeListener, text: &str) -> bool {
        listener.over(async { warn(text) }).now_or_never();
        listener.doubt().is_some_and(|captured| captured.contains(text))
    }

    #[test]
    fn a_warning_that_was_not_captured_disables_no_later_one() {
        let listener = NoticeListener::new(true);
        warn("terminating connection because of crash of another server process");
        assert_eq!(listener.doubt(), None);
        assert!(captures(&listener, "canceling wait for synchronous replication due to user request"));
        assert_eq!(listener.doubt(), None, "it is reported once");
    }

    #[test]
    fn in_another_language_every_warning_counts() {
        assert!(!captures(&NoticeListener::new(true), "skipping something"));
        assert!(captures(&NoticeListener::new(false), "skipping something"));
        let listener = NoticeListener::new(false);
        listener.over(async { tracing::warn!("not the server's word") }).now_or_never();
        assert_eq!(listener.doubt(), None);
    }
}
