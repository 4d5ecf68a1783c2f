//! The handles of a client's metrics. A handle is looked up once for each namespace, not for each request.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use metrics::{Counter, Histogram, IntoF64, SharedString, counter, histogram};
use sentinel_core::{Kind, Namespace};

use super::answers::{Named, OPERATIONS, OUTCOMES, REPLIES};
use super::metrics::{BY_VALUES, ENDED, KINDS, Metric, VERDICTS, WHY, name};
use super::survey::{MAX_NAMESPACES, OTHER_NAMESPACES};
use crate::authority::Lost;
use crate::clock::{LocalClock, LocalTime};

/// How long something took. The clock is read only if a metrics recorder is installed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) clock: LocalClock,
    pub(crate) sent: LocalTime,
}

impl IntoF64 for Took {
    fn into_f64(self) -> f64 {
        self.clock.now().since(self.sent).as_secs_f64()
    }
}

/// How a wait for another call ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WaitEnded {
    Result,
    Uncertain,
    GaveUp,
}

impl WaitEnded {
    pub(crate) fn word(self) -> &'static str {
        ENDED[self as usize]
    }
}

/// Who made a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Operator,
    Code,
}

/// What was decided about an uncertain key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decided {
    Happened,
    Failed,
    DidNotHappen,
}

impl Decided {
    pub(crate) fn word(self) -> &'static str {
        VERDICTS[self as usize]
    }
}

/// The largest number of recorders that one client records to: a program has one, tests have more. What a thread
/// records for another recorder after that is lost.
const MAX_RECORDERS: usize = 16;

/// The metrics of a client and its clones.
#[derive(Debug)]
pub(crate) struct Meters {
    store: SharedString,
    /// One entry for each recorder that was seen, recognised by its address. The first is that of the program, or the
    /// one that ignores everything while none is installed.
    bound: [OnceLock<Box<Bound>>; MAX_RECORDERS],
}

impl Meters {
    pub(crate) fn new(store: &str) -> Self {
        Self { store: store.to_owned().into(), bound: Default::default() }
    }

    /// The label of the store.
    pub(crate) fn store(&self) -> &str {
        &self.store
    }

    /// Registers what is known so far, so that the first increment of a counter is seen as one: `increase()` of
    /// Prometheus misses the first increment of a series that did not exist.
    pub(crate) fn register(&self, namespace: &Namespace) {
        self.here().inspect(|bound| drop(bound.named(namespace)));
    }

    /// Whether anything records what is measured here.
    pub(crate) fn is_recorded(&self) -> bool {
        struct Probe<'a>(&'a Cell<bool>);
        impl IntoF64 for Probe<'_> {
            fn into_f64(self) -> f64 {
                self.0.set(true);
                0.0
            }
        }
        // A value that is recorded zero times is asked for if there is a recorder, and not recorded.
        let asked = Cell::new(false);
        let verdict = Decided::Happened.word();
        histogram!(name::TIME_UNCERTAIN, "by" => BY_VALUES[By::Operator as usize], "verdict" => verdict)
            .record_many(Probe(&asked), 0);
        asked.get()
    }

    /// The handles for the recorder of this thread.
    pub(crate) fn here(&self) -> Option<&Bound> {
        let recorder = metrics::with_recorder(|recorder| std::ptr::from_ref(recorder).addr());
        self.bound
            .iter()
            .map(|slot| slot.get_or_init(|| Box::new(Bound::new(recorder, &self.store))))
            .find(|bound| bound.recorder == recorder)
            .map(|bound| &**bound)
    }

    pub(crate) fn answered<R: Named>(&self, namespace: &Namespace, reply: &R, took: Took) {
        self.with(namespace, |meters| {
            let operation = &meters.operations[R::OPERATION];
            operation.replies[reply.index()].increment(1);
            operation.seconds(meters).record(took);
        });
    }

    pub(crate) fn unanswered<R: Named>(&self, namespace: &Namespace) {
        self.with(namespace, |meters| meters.operations[R::OPERATION].errors.increment(1));
    }

    /// Counts the outcome of a call, and of a call that was granted its key the time since its claim.
    pub(crate) fn ended(&self, namespace: &Namespace, outcome: &'static str, took: Option<Took>) {
        self.with(namespace, |meters| {
            let Some(index) = OUTCOMES.iter().position(|word| *word == outcome) else { return };
            let counted = &meters.outcomes[index];
            counted.total.increment(1);
            if let Some(took) = took {
                counted.seconds(meters, outcome).record(took);
            }
        });
    }

    pub(crate) fn waited(&self, ended: WaitEnded, took: Took) {
        if let Some(bound) = self.here() {
            let seconds = bound.wait_seconds[ended as usize]
                .get_or_init(|| histogram!(name::WAIT_SECONDS, "ended" => ended.word()));
            seconds.record(took);
        }
    }

    pub(crate) fn heartbeats_failed(&self, beats: u64) {
        self.here().inspect(|bound| bound.heartbeat_failures.increment(beats));
    }

    pub(crate) fn contact_lost(&self, kind: Kind) {
        let index = match kind {
            Kind::Execution => 0,
            Kind::Lease => 1,
        };
        self.here().inspect(|bound| bound.contact_lost[index].increment(1));
    }

    pub(crate) fn lapsed(&self, why: Lost) {
        let index = WHY.iter().position(|word| *word == why.word());
        if let (Some(bound), Some(index)) = (self.here(), index) {
            bound.lapses[index].increment(1);
        }
    }

    /// Counts a decision about an uncertain key; `seconds`: how long it had been in doubt, if known.
    pub(crate) fn settled(&self, by: By, decided: Decided, seconds: Option<f64>) {
        if let Some(bound) = self.here() {
            bound.settlements[by as usize][decided as usize].increment(1);
        }
        if let Some(seconds) = seconds {
            histogram!(name::TIME_UNCERTAIN, "by" => BY_VALUES[by as usize], "verdict" => decided.word())
                .record(seconds);
        }
    }

    fn with(&self, namespace: &Namespace, record: impl FnOnce(&OfNamespace)) {
        if let Some(bound) = self.here() {
            bound.with(namespace, record);
        }
    }
}

/// The handles of one recorder.
pub(crate) struct Bound {
    recorder: usize,
    store: SharedString,
    heartbeat_failures: Counter,
    contact_lost: [Counter; KINDS.len()],
    lapses: [Counter; WHY.len()],
    wait_seconds: [OnceLock<Histogram>; ENDED.len()],
    settlements: [[Counter; VERDICTS.len()]; BY_VALUES.len()],
    /// The namespace that was used first: most clients use no other.
    first: OnceLock<(Namespace, Arc<OfNamespace>)>,
    named: RwLock<HashMap<Namespace, Arc<OfNamespace>>>,
    other: OnceLock<Arc<OfNamespace>>,
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bound").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Bound {
    fn new(recorder: usize, store: &SharedString) -> Self {
        Metric::describe_all();
        Self {
            recorder,
            store: store.clone(),
            heartbeat_failures: counter!(name::HEARTBEAT_FAILURES),
            contact_lost: std::array::from_fn(|n| counter!(name::CONTACT_LOST, "kind" => KINDS[n])),
            lapses: std::array::from_fn(|n| counter!(name::LAPSES, "why" => WHY[n])),
            wait_seconds: Default::default(),
            settlements: std::array::from_fn(|by| {
                std::array::from_fn(
                    |verdict| counter!(name::SETTLEMENTS, "by" => BY_VALUES[by], "verdict" => VERDICTS[verdict]),
                )
            }),
            first: OnceLock::new(),
            named: RwLock::default(),
            other: OnceLock::new(),
        }
    }

    fn with(&self, namespace: &Namespace, record: impl FnOnce(&OfNamespace)) {
        let (first, meters) = self.first.get_or_init(|| (namespace.clone(), self.named(namespace)));
        if first == namespace {
            record(meters);
        } else {
            record(&self.named(namespace));
        }
    }

    fn named(&self, namespace: &Namespace) -> Arc<OfNamespace> {
        let known = self.named.read().unwrap_or_else(PoisonError::into_inner).get(namespace).cloned();
        known.unwrap_or_else(|| self.add(namespace))
    }

    /// The handles of a namespace that was not used before. After [`MAX_NAMESPACES`] of them, all others share one
    /// label: each has dozens of series.
    fn add(&self, namespace: &Namespace) -> Arc<OfNamespace> {
        let mut named = self.named.write().unwrap_or_else(PoisonError::into_inner);
        if named.len() >= MAX_NAMESPACES && !named.contains_key(namespace) {
            let new = || Arc::new(OfNamespace::new(&self.store, OTHER_NAMESPACES));
            return self.other.get_or_init(new).clone();
        }
        let new = || Arc::new(OfNamespace::new(&self.store, namespace.as_str()));
        named.entry(namespace.clone()).or_insert_with(new).clone()
    }
}

/// The handles of one namespace. Counters exist from the start; a histogram exists from its first value on.
pub(crate) struct OfNamespace {
    store: SharedString,
    namespace: SharedString,
    operations: [OfOperation; OPERATIONS.len()],
    outcomes: [OfOutcome; OUTCOMES.len()],
}

struct OfOperation {
    operation: &'static str,
    replies: Box<[Counter]>,
    errors: Counter,
    seconds: OnceLock<Histogram>,
}

struct OfOutcome {
    total: Counter,
    seconds: OnceLock<Histogram>,
}

impl OfNamespace {
    fn new(store: &SharedString, namespace: &str) -> Self {
        let namespace: SharedString = namespace.to_owned().into();
        let counter = |name: &'static str, labels: &[(&'static str, &'static str)]| {
            let own = labels.iter().map(|(label, value)| metrics::Label::new(*label, *value));
            let store = metrics::Label::new("store", store.clone());
            let labels = [store, metrics::Label::new("namespace", namespace.clone())];
            counter!(name, labels.into_iter().chain(own).collect::<Vec<_>>())
        };
        let operations = std::array::from_fn(|n| {
            let operation = OPERATIONS[n];
            let replies = REPLIES[n].iter();
            OfOperation {
                operation,
                replies: replies
                    .map(|reply| counter(name::TRANSITIONS, &[("operation", operation), ("reply", reply)]))
                    .collect(),
                errors: counter(name::STORE_ERRORS, &[("operation", operation)]),
                seconds: OnceLock::new(),
            }
        });
        let outcomes = std::array::from_fn(|n| OfOutcome {
            total: counter(name::OUTCOMES, &[("outcome", OUTCOMES[n])]),
            seconds: OnceLock::new(),
        });
        Self { store: store.clone(), namespace: namespace.clone(), operations, outcomes }
    }
}

impl OfOperation {
    fn seconds(&self, of: &OfNamespace) -> &Histogram {
        self.seconds.get_or_init(|| {
            let (store, namespace) = (of.store.clone(), of.namespace.clone());
            histogram!(
                name::OPERATION_SECONDS,
                "store" => store, "namespace" => namespace, "operation" => self.operation
            )
        })
    }
}

impl OfOutcome {
    fn seconds(&self, of: &OfNamespace, outcome: &'static str) -> &Histogram {
        self.seconds.get_or_init(|| {
            let (store, namespace) = (of.store.clone(), of.namespace.clone());
            histogram!(name::RUN_SECONDS, "store" => store, "namespace" => namespace, "outcome" => outcome)
        })
    }
}
