//! Spans of calls, as `tracing-opentelemetry` would see them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sentinel::prelude::*;
use sentinel::record::{Cause, Root};
use sentinel::store::{ErrorKind, StoreError};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata};

use crate::observe::{in_runtime, keep_callsites_enabled};
use crate::outage::Refusing;
use crate::{Lied, SECOND, charge, doubt, sentinel};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

pub(super) type Fields = BTreeMap<String, String>;

/// A span or an event with its fields.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorded {
    pub(super) name: String,
    pub(super) level: Option<Level>,
    pub(super) fields: Fields,
    /// Of an event: the index of its span. Of a span: of the span that it is in.
    pub(super) within: Option<usize>,
}

/// Records all spans and events of the client.
#[derive(Debug, Default, Clone)]
pub(super) struct Recorder(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    spans: Vec<Recorded>,
    events: Vec<Recorded>,
    entered: Vec<usize>,
}

struct Fill<'a>(&'a mut Fields);

impl Visit for Fill<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

fn index(id: &Id) -> usize {
    usize::try_from(id.into_u64()).unwrap() - 1
}

impl tracing::Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sentinel"
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut state = self.0.lock().unwrap();
        let within = state.entered.last().copied();
        let name = attributes.metadata().name().to_owned();
        let mut span =
            Recorded { name, within, level: Some(*attributes.metadata().level()), ..Recorded::default() };
        attributes.record(&mut Fill(&mut span.fields));
        state.spans.push(span);
        Id::from_u64(state.spans.len() as u64)
    }

    fn event(&self, event: &Event<'_>) {
        let mut state = self.0.lock().unwrap();
        let parent = event.parent().map(index);
        let within = parent.or_else(|| event.is_contextual().then(|| state.entered.last().copied())?);
        let mut found = Recorded { within, level: Some(*event.metadata().level()), ..Recorded::default() };
        event.record(&mut Fill(&mut found.fields));
        found.name = found.fields.get("event").cloned().unwrap_or_default();
        state.events.push(found);
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        values.record(&mut Fill(&mut self.0.lock().unwrap().spans[index(id)].fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, id: &Id) {
        self.0.lock().unwrap().entered.push(index(id));
    }

    fn exit(&self, id: &Id) {
        let mut state = self.0.lock().unwrap();
        let at = state.entered.iter().rposition(|entered| *entered == index(id)).unwrap();
        state.entered.remove(at);
    }
}

impl Recorder {
    pub(super) fn during(work: impl Future<Output = ()>) -> Self {
        keep_callsites_enabled();
        let recorder = Self::default();
        tracing::subscriber::with_default(recorder.clone(), || in_runtime(work));
        recorder
    }

    pub(super) fn events(&self) -> Vec<Recorded> {
        self.0.lock().unwrap().events.clone()
    }

    fn spans(&self, name: &str) -> Vec<Recorded> {
        let state = self.0.lock().unwrap();
        state.spans.iter().filter(|span| span.name == name).cloned().collect()
    }

    /// The fields of the calls, in the order in which they began.
    fn calls(&self) -> Vec<Fields> {
        self.spans("sentinel.once").into_iter().map(|span| span.fields).collect()
    }

    /// The steps of the first call.
    fn steps(&self) -> Vec<String> {
        let within = self.0.lock().unwrap().spans.iter().position(|span| span.name == "sentinel.once");
        let events = self.events().into_iter().filter(|event| event.within == within && within.is_some());
        events.filter_map(|event| event.fields.get("step").or(event.fields.get("event")).cloned()).collect()
    }
}

fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.get(name).map(String::as_str)
}

#[test]
fn a_call_has_a_span_with_its_outcome_token_and_incarnation() {
    let recorder = Recorder::during(async {
        let sentinel = sentinel();
        let _ = charge(&sentinel, "private").await;
        let _ = charge(&sentinel, "private").await;
    });
    let [ran, replayed] = &recorder.calls()[..] else { panic!("{recorder:?}") };
    for (call, outcome) in [(ran, "completed"), (replayed, "replayed")] {
        assert_eq!(field(call, "sentinel.outcome"), Some(outcome));
        assert_eq!(field(call, "sentinel.namespace"), Some("billing"));
        assert_eq!(field(call, "otel.kind"), Some("internal"));
        assert_eq!((field(call, "otel.status_code"), field(call, "error.type")), (None, None));
        assert_eq!(field(call, "sentinel.key"), None, "keys are not traced");
    }
    assert!(field(ran, "sentinel.token").is_some() && field(ran, "sentinel.incarnation").is_some());
    assert_eq!(field(replayed, "sentinel.token"), None, "nothing was granted");
    assert_eq!(recorder.steps(), ["claimed", "begun", "completed"]);
    assert!(recorder.spans("sentinel.once").iter().all(|span| span.level == Some(Level::INFO)));
}

#[test]
fn an_outcome_in_which_something_may_be_wrong_is_an_error_of_the_span() {
    let recorder = Recorder::during(async {
        let sentinel = sentinel();
        let _ = doubt(&sentinel, "k").await;
        let _ = charge(&sentinel, "k").await;
        let refused = |_: &Lied| true;
        let _ = sentinel
            .once("final")
            .failed_for_good_if(refused)
            .run(|_| async { Err::<(), _>(Lied("no")) })
            .await;
        let away = Refusing::new(&["claim"]);
        away.0.refuse(StoreError::not_applied(ErrorKind::Unreachable, "away"));
        let _ = charge(&Sentinel::from_arc(away), "k").await;
    });
    let found: Vec<_> = recorder
        .calls()
        .iter()
        .map(|call| (call["sentinel.outcome"].clone(), field(call, "otel.status_code").map(str::to_owned)))
        .collect();
    let error = || Some("ERROR".to_owned());
    let expected =
        [("ran_uncertain", error()), ("uncertain", error()), ("failed", None), ("not_run", error())];
    assert_eq!(found, expected.map(|(outcome, status)| (outcome.to_owned(), status)));
    assert_eq!(field(&recorder.calls()[0], "error.type"), Some("ran_uncertain"));
}

#[test]
fn a_wait_has_a_span_of_its_own_within_the_call() {
    let recorder = Recorder::during(async {
        let sentinel = sentinel();
        let cause = Cause::new(Root::new("order-42").unwrap()).with_trace(TRACE.parse().unwrap());
        let slow = sentinel.once::<Lied>("k").cause(cause).run(|_| async {
            tokio::time::sleep(SECOND).await;
            Ok(())
        });
        let wait = sentinel.once::<Lied>("k").wait(SECOND * 5).run(|_| async { Ok(()) });
        let (ran, waited) = tokio::join!(slow, wait);
        assert!(matches!((ran.unwrap(), waited.unwrap()), (Outcome::Completed(()), Outcome::Replayed(()))));
        let slow = sentinel.once::<Lied>("l").run(|_| async {
            tokio::time::sleep(SECOND * 9).await;
            Ok(())
        });
        let wait = sentinel.once::<Lied>("l").wait(SECOND).run(|_| async { Ok(()) });
        let (_, waited) = tokio::join!(slow, wait);
        assert!(matches!(waited.unwrap(), Outcome::InProgress(_)));
    });
    let [waited, gave_up] = &recorder.spans("sentinel.wait")[..] else { panic!("{recorder:?}") };
    assert_eq!(field(&waited.fields, "sentinel.ended"), Some("result"));
    assert_eq!(
        field(&waited.fields, "sentinel.running_trace_id"),
        Some(TRACE),
        "of the run that does the work"
    );
    assert_eq!(field(&gave_up.fields, "sentinel.running_trace_id"), None);
    assert_eq!(field(&gave_up.fields, "sentinel.ended"), Some("gave_up"));
    assert_eq!(waited.within, Some(1), "the second call waits");
}

#[test]
fn a_run_whose_caller_has_gone_is_marked_and_its_span_goes_on() {
    let recorder = Recorder::during(async {
        let sentinel = sentinel();
        let call = tokio::spawn(sentinel.once::<Lied>("k").run(|_| async {
            tokio::time::sleep(SECOND).await;
            Ok(())
        }));
        tokio::task::yield_now().await;
        call.abort();
        let _ = call.await;
        assert!(sentinel.drain(SECOND * 60).await.is_complete());
        let _ = charge(&sentinel, "after").await;
    });
    let calls = recorder.calls();
    assert_eq!(field(&calls[0], "sentinel.caller_gone"), Some("true"));
    assert_eq!(field(&calls[0], "sentinel.outcome"), Some("completed"));
    assert_eq!(field(&calls[1], "sentinel.caller_gone"), None);
}
