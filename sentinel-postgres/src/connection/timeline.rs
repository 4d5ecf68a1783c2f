//! The server's time line: it changes when a standby takes over.

use std::sync::Mutex;
use std::sync::PoisonError;

/// The time lines of the servers that connections of this store were made to.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    seen: Mutex<Snapshot>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Snapshot {
    first: Option<i32>,
    last: Option<i32>,
}

impl Timeline {
    /// A connection was made to a server on this time line. A change is reported, once for each.
    pub(crate) fn see(&self, timeline: Option<i32>) {
        if let Some((before, now)) = self.change(timeline) {
            tracing::error!(
                target: "sentinel",
                event = "time_line_changed",
                before,
                now,
                "PostgreSQL failed over. Unless the standby was synchronous, a begin, result or decision \
                that was acknowledged shortly before may be lost, and its key may run again"
            );
        }
    }

    /// The one before and this one, if they differ.
    fn change(&self, timeline: Option<i32>) -> Option<(i32, i32)> {
        let timeline = timeline?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.first.get_or_insert(timeline);
        let before = seen.last.replace(timeline)?;
        (before != timeline).then_some((before, timeline))
    }

    /// The first and the last, if a failover was seen.
    pub(crate) fn changed(&self) -> Option<(i32, i32)> {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.first.zip(seen.last).filter(|(first, last)| first != last)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    use super::*;

    #[test]
    fn a_changed_time_line_is_reported_and_an_unknown_one_changes_nothing() {
        let timeline = Timeline::default();
        assert_eq!([Some(1), None, Some(1)].map(|seen| timeline.change(seen)), [None; 3]);
        assert_eq!(timeline.changed(), None);
        timeline.see(Some(2));
        assert_eq!(timeline.change(Some(2)), None, "it is reported once");
        assert_eq!(timeline.change(Some(3)), Some((2, 3)));
        assert_eq!(timeline.changed(), Some((1, 3)));
    }

    /// Counts errors of the target `sentinel` whose field `event` is `time_line_changed`.
    #[derive(Debug, Default, Clone)]
    struct Errors(Arc<Mutex<u32>>);

    impl Visit for Errors {
        fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}

        fn record_str(&mut self, field: &Field, value: &str) {
            if (field.name(), value) == ("event", "time_line_changed") {
                *self.0.lock().unwrap() += 1;
            }
        }
    }

    impl Subscriber for Errors {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "sentinel" && *metadata.level() == Level::ERROR
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn event(&self, event: &Event<'_>) {
            event.record(&mut self.clone());
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn a_changed_time_line_is_one_error_in_the_log() {
        let errors = Errors::default();
        tracing::subscriber::with_default(errors.clone(), || {
            let timeline = Timeline::default();
            for seen in [Some(1), Some(1), Some(2), Some(2), None] {
                timeline.see(seen);
            }
        });
        assert_eq!(*errors.0.lock().unwrap(), 1);
    }
}
