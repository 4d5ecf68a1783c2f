//! A survey of a whole store: how many keys are in doubt and for how long, as gauges or as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use sentinel_core::survey::Undecided;
use sentinel_core::{Namespace, Record, State, StoreError, StoreTime, Survey};

use super::metrics::{Metric, name};

/// The largest number of namespaces that have a label of their own; all others have [`OTHER_NAMESPACES`].
pub const MAX_NAMESPACES: usize = 200;

/// The label of the namespaces beyond [`MAX_NAMESPACES`].
pub const OTHER_NAMESPACES: &str = "other";

/// What a survey found in one namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct NamespaceSurvey {
    /// How long the key that has been uncertain longest has been so; zero: there is none.
    pub oldest_uncertain: Duration,
    /// How long ago the key was taken that has been taken longest and is not decided; zero: there is none.
    pub oldest_reconciling: Duration,
    /// The number of uncertain keys.
    pub uncertain_keys: u64,
    /// The number of keys that were taken and are not decided.
    pub reconciling_keys: u64,
}

/// What a survey found in a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SurveyReport {
    /// By namespace: all that have keys in doubt, and others, also without any, up to [`MAX_NAMESPACES`].
    pub namespaces: BTreeMap<Namespace, NamespaceSurvey>,
    /// Whether more than 10,000 keys are in doubt: the numbers are then too low, and older keys may be missing.
    pub incomplete: bool,
    /// Whether no loss of data is known. [`survey`] sets it: a store that has lost data refuses to be read, unless it
    /// was opened to be read in doubt.
    pub trusted: bool,
}

/// Reads a store for the gauges of a survey. Changes nothing; each record is read by itself, not all at one instant.
///
/// **Errors:** the store could not answer.
pub async fn survey<S: Survey + ?Sized>(store: &S) -> Result<SurveyReport, StoreError> {
    let limit = u32::try_from(MAX_NAMESPACES).unwrap_or(u32::MAX);
    let namespaces = store.namespaces(None, limit).await.map_err(StoreError::of_a_read)?;
    let all = Undecided { namespace: None, after_age: Duration::ZERO, limit: u32::MAX };
    let page = store.undecided(&all).await.map_err(StoreError::of_a_read)?;
    let mut report = SurveyReport { incomplete: page.incomplete, trusted: true, ..Default::default() };
    report.namespaces = namespaces.into_iter().map(|namespace| (namespace, Default::default())).collect();
    for (address, record) in &page.records {
        report.namespaces.entry(address.namespace.clone()).or_default().add(record, page.now);
    }
    Ok(report)
}

impl NamespaceSurvey {
    fn add(&mut self, record: &Record, now: StoreTime) {
        match (record.state, &record.decision) {
            (State::Reconciling, Some(taken)) => {
                self.reconciling_keys += 1;
                self.oldest_reconciling = self.oldest_reconciling.max(now.since(taken.at));
            }
            _ => {
                self.uncertain_keys += 1;
                self.oldest_uncertain = self.oldest_uncertain.max(now.since(record.lease_until));
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.uncertain_keys += other.uncertain_keys;
        self.reconciling_keys += other.reconciling_keys;
        self.oldest_uncertain = self.oldest_uncertain.max(other.oldest_uncertain);
        self.oldest_reconciling = self.oldest_reconciling.max(other.oldest_reconciling);
    }

    fn is_in_doubt(&self) -> bool {
        self.uncertain_keys + self.reconciling_keys > 0
    }

    /// The gauges of this namespace.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a gauge is a float, and a survey counts at most 10,000 keys"
    )]
    pub(super) fn gauges(&self) -> [(&'static str, f64); 4] {
        [
            (name::OLDEST_UNCERTAIN, self.oldest_uncertain.as_secs_f64()),
            (name::OLDEST_RECONCILING, self.oldest_reconciling.as_secs_f64()),
            (name::UNCERTAIN_KEYS, self.uncertain_keys as f64),
            (name::RECONCILING_KEYS, self.reconciling_keys as f64),
        ]
    }
}

impl SurveyReport {
    /// The report of a store that cannot be read because it has lost data.
    pub fn not_trusted() -> Self {
        Self::default()
    }

    /// The namespaces by label. A namespace that has a label keeps it: `labelled` has the labels that were given
    /// before, and gets those that are given now. Namespaces with keys in doubt come first.
    pub(super) fn by_label(&self, labelled: &mut BTreeSet<Namespace>) -> BTreeMap<String, NamespaceSurvey> {
        let (in_doubt, settled): (Vec<_>, Vec<_>) =
            self.namespaces.iter().partition(|(_, found)| found.is_in_doubt());
        let mut by_label: BTreeMap<String, NamespaceSurvey> = BTreeMap::new();
        for (namespace, found) in in_doubt.into_iter().chain(settled) {
            if labelled.len() < MAX_NAMESPACES {
                labelled.insert(namespace.clone());
            }
            let label = if labelled.contains(namespace) { namespace.as_str() } else { OTHER_NAMESPACES };
            by_label.entry(label.to_owned()).or_default().merge(found);
        }
        by_label
    }

    /// This report in Prometheus' text format. `store` is the label of the store, `at` the time of the survey, `None`
    /// if it failed, and `took` its duration.
    pub fn to_prometheus(&self, store: &str, at: Option<StoreTime>, took: Duration) -> String {
        let mut text = Text { store: escaped(store), text: String::new() };
        let by_label = self.by_label(&mut BTreeSet::new());
        let gauges = NamespaceSurvey::default().gauges();
        for (at, (name, _)) in gauges.iter().enumerate().filter(|_| !by_label.is_empty()) {
            text.head(name);
            for (namespace, found) in &by_label {
                text.sample(name, &[("namespace", namespace)], found.gauges()[at].1);
            }
        }
        text.head(name::STORE_TRUSTED);
        text.sample(name::STORE_TRUSTED, &[], if self.trusted { 1.0 } else { 0.0 });
        if let Some(at) = at {
            text.head(name::LAST_SURVEY);
            text.sample(name::LAST_SURVEY, &[], Duration::from_micros(at.as_micros()).as_secs_f64());
            text.histogram(name::SURVEY_SECONDS, took.as_secs_f64());
        }
        text.text
    }
}

/// Text in Prometheus' format.
struct Text {
    store: String,
    text: String,
}

impl Text {
    fn head(&mut self, name: &str) {
        if let Some(metric) = Metric::find(name) {
            let help = metric.help.replace('\\', r"\\").replace('\n', r"\n");
            let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {}", metric.kind.as_str());
        }
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: String =
            labels.iter().map(|(name, value)| format!(",{name}=\"{}\"", escaped(value))).collect();
        let _ = writeln!(self.text, "{name}{{store=\"{}\"{labels}}} {value}", self.store);
    }

    /// A histogram of one value.
    fn histogram(&mut self, name: &str, value: f64) {
        self.head(name);
        let bucket = format!("{name}_bucket");
        for bound in Metric::find(name).map_or(&[][..], |metric| metric.buckets) {
            let count = if value <= *bound { 1.0 } else { 0.0 };
            self.sample(&bucket, &[("le", &bound.to_string())], count);
        }
        self.sample(&bucket, &[("le", "+Inf")], 1.0);
        self.sample(&format!("{name}_sum"), &[], value);
        self.sample(&format!("{name}_count"), &[], 1.0);
    }
}

/// The value of a label, as Prometheus' text format has it between double quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests;
