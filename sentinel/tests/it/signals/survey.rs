//! Surveys, as gauges and as text.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sentinel::Namespace;
use sentinel::prelude::*;
use sentinel::reconcile::ReconcileOutcome;
use sentinel::record::{Address, CauseQuery};
use sentinel::signals::{SurveyExporter, export, survey};
use sentinel::store::survey::{CausePage, Undecided, UndecidedPage};
use sentinel::store::*;

use super::metrics::{check_metrics, recorder, value};
use crate::observe::in_runtime;
use crate::{SECOND, charge, doubt};

/// Two keys that are uncertain, one that an operator took, and one that is done.
async fn three_in_doubt(store: &MemoryStore) {
    let of = |namespace: &str| Sentinel::new(store.clone()).namespace(namespace).unwrap();
    let _ = doubt(&of("pay"), "one").await;
    tokio::time::advance(SECOND * 30).await;
    let _ = doubt(&of("pay"), "two").await;
    let _ = doubt(&of("mail"), "three").await;
    tokio::time::advance(SECOND * 3).await;
    let taken = of("mail").reconciler("three").reconcile().await.unwrap();
    assert!(matches!(taken, ReconcileOutcome::Taken(_)));
    tokio::time::advance(SECOND * 7).await;
    let _ = charge(&of("quiet"), "done").await;
}

fn gauge(text: &str, name: &str, namespace: &str) -> Option<f64> {
    value(text, name, &[("store", "main"), ("namespace", namespace)])
}

#[track_caller]
fn check(text: &str) {
    let of = |name: &str, namespace: &str| gauge(text, name, namespace).unwrap();
    let (uncertain, age) = (2.0, 40.0..40.1);
    assert_eq!(of("sentinel_uncertain_keys", "pay"), uncertain, "{text}");
    assert!(age.contains(&of("sentinel_oldest_uncertain_seconds", "pay")), "{text}");
    assert_eq!(of("sentinel_uncertain_keys", "mail"), 0.0);
    assert_eq!(of("sentinel_oldest_uncertain_seconds", "mail"), 0.0);
    assert_eq!(of("sentinel_reconciling_keys", "mail"), 1.0);
    // Since the operator took it, not since it is in doubt.
    assert!((7.0..7.1).contains(&of("sentinel_oldest_reconciling_seconds", "mail")), "{text}");
    assert_eq!(of("sentinel_uncertain_keys", "quiet"), 0.0, "a namespace without doubt has a zero");
    assert_eq!(value(text, "sentinel_store_trusted", &[("store", "main")]), Some(1.0));
    assert!(value(text, "sentinel_survey_last_success_timestamp_seconds", &[]).unwrap() > 1.6e9);
    assert_eq!(value(text, "sentinel_survey_seconds_count", &[]), Some(1.0));
}

#[test]
fn a_survey_exports_the_age_and_the_number_of_keys_in_doubt() {
    let recorder = recorder();
    metrics::with_local_recorder(&recorder, || {
        in_runtime(async {
            let store = MemoryStore::new();
            three_in_doubt(&store).await;
            SurveyExporter::new(Arc::new(store), "main").unwrap().pass().await.unwrap();
        });
    });
    let text = recorder.handle().render();
    check(&text);
    check_metrics(&text);
}

#[test]
fn a_survey_is_printed_as_text_that_prometheus_reads() {
    in_runtime(async {
        let store = MemoryStore::new();
        three_in_doubt(&store).await;
        let report = survey(&store).await.unwrap();
        let text = report.to_prometheus("main", Some(SystemClock.now()), SECOND / 50);
        check(&text);
        check_metrics(&text);
        // Each label value can be any text.
        let odd = report.to_prometheus("a\"b\\c\nd", Some(SystemClock.now()), SECOND);
        assert!(odd.contains(r#"store="a\"b\\c\nd""#), "{odd}");
        check_metrics(&odd);
        check_metrics(&report.to_prometheus("main", None, SECOND));
    });
}

/// A store that answers until it refuses.
#[derive(Debug, Clone)]
struct Failing(MemoryStore, Arc<Mutex<Option<ErrorKind>>>);

impl Failing {
    fn answer(&self) -> Result<(), StoreError> {
        match *self.1.lock().unwrap() {
            Some(kind) => Err(StoreError::not_applied(kind, "for the test")),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Survey for Failing {
    async fn namespaces(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>, StoreError> {
        self.answer()?;
        self.0.namespaces(after, limit).await
    }

    async fn undecided(&self, filter: &Undecided) -> Result<UndecidedPage, StoreError> {
        self.answer()?;
        self.0.undecided(filter).await
    }

    async fn by_cause(
        &self,
        query: &CauseQuery,
        after: Option<&Address>,
        limit: u32,
    ) -> Result<CausePage, StoreError> {
        self.answer()?;
        self.0.by_cause(query, after, limit).await
    }
}

#[test]
fn a_survey_that_fails_is_seen_by_its_time_and_by_trust() {
    let recorder = recorder();
    metrics::with_local_recorder(&recorder, || {
        in_runtime(async {
            let store = Failing(MemoryStore::new(), Arc::default());
            let refuse = |kind| *store.1.lock().unwrap() = kind;
            let mut exporter = SurveyExporter::new(Arc::new(store.clone()), "main").unwrap();
            let trusted = || value(&recorder.handle().render(), "sentinel_store_trusted", &[]);
            let last =
                || value(&recorder.handle().render(), "sentinel_survey_last_success_timestamp_seconds", &[]);
            refuse(Some(ErrorKind::Unreachable));
            exporter.pass().await.unwrap_err();
            assert_eq!((trusted(), last()), (None, None), "nothing is known");
            refuse(None);
            exporter.pass().await.unwrap();
            let succeeded = last();
            assert_eq!((trusted(), succeeded.is_some()), (Some(1.0), true));
            refuse(Some(ErrorKind::PossibleDataLoss));
            exporter.pass().await.unwrap_err();
            assert_eq!((trusted(), last()), (Some(0.0), succeeded), "only trust changes");
        });
    });
}

#[test]
fn an_exporter_that_stops_shows_no_doubt_that_it_no_longer_sees() {
    let recorder = recorder();
    metrics::with_local_recorder(&recorder, || {
        in_runtime(async {
            let store = MemoryStore::new();
            three_in_doubt(&store).await;
            let running = export(Arc::new(store.clone()), "main", SECOND).unwrap();
            let keys = || gauge(&recorder.handle().render(), "sentinel_uncertain_keys", "pay");
            while keys().is_none() {
                tokio::time::sleep(SECOND / 10).await;
            }
            assert_eq!(keys(), Some(2.0));
            // A key that comes to be in doubt is seen by a later pass.
            let _ = doubt(&Sentinel::new(store).namespace("pay").unwrap(), "three").await;
            for _ in 0..100 {
                if keys() == Some(3.0) {
                    break;
                }
                tokio::time::sleep(SECOND / 10).await;
            }
            assert_eq!(keys(), Some(3.0));
            running.stop().await;
            assert_eq!(keys(), Some(0.0));
        });
    });
}
