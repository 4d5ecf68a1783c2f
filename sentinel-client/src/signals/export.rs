//! Surveys at regular intervals, as gauges of this process.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use metrics::{gauge, histogram};
use sentinel_core::{Clock as _, Invalid, Label, Namespace, StoreError, Survey, SystemClock};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::events;
use super::metrics::{Metric, name};
use super::survey::{NamespaceSurvey, SurveyReport, survey};
use crate::jitter::jittered;

/// Surveys a store at this interval, as a task on the current tokio runtime, and sets the gauges of the survey in the
/// recorder of `metrics`: [`SurveyExporter::new`], then [`SurveyExporter::start`]. **Errors:** the name is not a valid
/// label.
pub fn export(
    survey: Arc<dyn Survey>,
    store_name: impl AsRef<str>,
    every: Duration,
) -> Result<SurveyExporterHandle, Invalid> {
    Ok(SurveyExporter::new(survey, store_name)?.every(every).start())
}

/// Sets gauges of a whole store: how many keys are in doubt and for how long, whether the store is trusted, and when it
/// was last read.
///
/// Exactly one process should do this for a store, or each that does should be scraped under a job of its own: the
/// alerts use the highest value. The gauges stay while passes fail; an alert on
/// `sentinel_survey_last_success_timestamp_seconds` detects this. After a stop they are zero.
#[must_use = "nothing happens before `start` or `pass`"]
pub struct SurveyExporter {
    survey: Arc<dyn Survey>,
    store: String,
    every: Duration,
    labelled: BTreeSet<Namespace>,
    /// The labels that have gauges.
    shown: BTreeSet<String>,
    failed: bool,
}

impl fmt::Debug for SurveyExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SurveyExporter").field("store", &self.store).finish_non_exhaustive()
    }
}

impl SurveyExporter {
    /// The default interval.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(15);

    /// Creates an exporter. `store_name` is the label of the store: the same as that of its clients, which is the name
    /// of the backend unless [`store_name`](crate::Sentinel::store_name) sets another. **Errors:** the name is not a
    /// valid label.
    pub fn new(survey: Arc<dyn Survey>, store_name: impl AsRef<str>) -> Result<Self, Invalid> {
        let store = Label::new(store_name)?.as_str().to_owned();
        Metric::describe_all();
        Ok(Self {
            survey,
            store,
            every: Self::DEFAULT_INTERVAL,
            labelled: BTreeSet::new(),
            shown: BTreeSet::new(),
            failed: false,
        })
    }

    /// Sets the time between two surveys. Default 15 s. The alerts expect a survey at least every 2 min.
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// Starts a task on the current tokio runtime. It makes its first pass at once, and ends when it is stopped or the
    /// handle is dropped.
    pub fn start(mut self) -> SurveyExporterHandle {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            loop {
                // A failure is in the log and in the gauges.
                if stopped.run_until_cancelled(self.pass()).await.is_none() {
                    break;
                }
                if stopped.run_until_cancelled(tokio::time::sleep(jittered(self.every))).await.is_none() {
                    break;
                }
            }
            self.clear();
        });
        SurveyExporterHandle { stop, task }
    }

    /// Surveys the store once and sets the gauges. **Repeating it** sets them anew. **Errors:** the store could not
    /// answer. Then only `sentinel_store_trusted` may change.
    pub async fn pass(&mut self) -> Result<SurveyReport, StoreError> {
        let began = Instant::now();
        let report = survey(&self.survey).await;
        match &report {
            Ok(report) => {
                histogram!(name::SURVEY_SECONDS, "store" => self.store.clone()).record(began.elapsed());
                self.show(report);
                let now = Duration::from_micros(SystemClock.now().as_micros());
                gauge!(name::LAST_SURVEY, "store" => self.store.clone()).set(now);
            }
            Err(error) => {
                if events::is_unsound(error.kind()) {
                    self.trusted(false);
                }
                // One line for each outage: the next success ends it.
                if !self.failed {
                    events::survey_failed(&self.store, error);
                }
            }
        }
        self.failed = report.is_err();
        report
    }

    fn show(&mut self, report: &SurveyReport) {
        let by_label = report.by_label(&mut self.labelled);
        self.shown.extend(by_label.keys().cloned());
        self.set(&by_label);
        self.trusted(report.trusted);
    }

    /// Sets the gauges of all labels that were ever shown: those without a value are zero now.
    fn set(&self, by_label: &BTreeMap<String, NamespaceSurvey>) {
        for label in &self.shown {
            for (name, value) in by_label.get(label).copied().unwrap_or_default().gauges() {
                gauge!(name, "store" => self.store.clone(), "namespace" => label.clone()).set(value);
            }
        }
    }

    fn trusted(&self, trusted: bool) {
        gauge!(name::STORE_TRUSTED, "store" => self.store.clone()).set(if trusted { 1.0 } else { 0.0 });
    }

    /// This process no longer reads the store: what it showed last must not be taken for the present state.
    fn clear(&self) {
        self.set(&BTreeMap::new());
    }
}

/// The handle of a running [`SurveyExporter`]. When it is dropped, the exporter stops.
#[must_use = "the exporter stops when this is dropped"]
#[derive(Debug)]
pub struct SurveyExporterHandle {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl SurveyExporterHandle {
    /// Stops the exporter, and waits until it has set its gauges to zero.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let _ = (&mut self.task).await;
    }
}

impl Drop for SurveyExporterHandle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
