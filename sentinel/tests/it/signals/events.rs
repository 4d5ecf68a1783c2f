//! Each log event of the table: at its level, with its fields, once, and without key and payload.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use sentinel::Namespace;
use sentinel::prelude::*;
use sentinel::reconcile::{DecisionOutcome, ProbeResult, ReconcileOutcome};
use sentinel::record::{Address, CauseQuery, Kind, OpId};
use sentinel::signals::{EVENTS, SurveyExporter};
use sentinel::store::operation::*;
use sentinel::store::survey::{CausePage, Undecided, UndecidedPage};
use sentinel::store::*;
use tokio::sync::Notify;

use super::spans::{Recorded, Recorder};
use crate::outage::Refusing;
use crate::{Lied, SECOND, doubt, sentinel};

/// Events that this program cannot cause, and why.
const NOT_HERE: [(&str, &str); 2] = [
    ("time_line_changed", "the PostgreSQL store reports it"),
    ("heartbeats_restarted", "the task has no known way to panic"),
];

/// Appears in every key here.
const SECRET: &str = "sesame";
/// Appears in every payload here.
const PAYLOAD: &str = "hunter2";

/// What must be reported exactly once while one thing happens.
async fn happens(event: &'static str) {
    let sentinel = sentinel();
    let key = SECRET;
    match event {
        "ran_uncertain" => drop(doubt(&sentinel, key).await),
        "unconfirmed" => unconfirmed(ErrorKind::Unreachable).await,
        "report_given_up" => unconfirmed(ErrorKind::Closed).await,
        "superseded" => superseded(&sentinel).await,
        "lease_lost" => {
            let held = sentinel.lease(key).ttl(SECOND).hard_ttl(SECOND).acquire().await.unwrap();
            let LeaseOutcome::Held(lease) = held else { panic!("not held") };
            lease.cancelled().cancelled().await;
            tokio::time::sleep(SECOND * 60).await;
            drop(lease);
        }
        "contact_lost" => {
            let store = Refusing::new(&["heartbeat"]);
            store.0.refuse(StoreError::not_applied(ErrorKind::Unreachable, "away"));
            let sentinel = Sentinel::from_arc(store).namespace("billing").unwrap();
            let once = sentinel.once::<Lied>(key).ttl(SECOND).hard_ttl(SECOND * 60);
            let _ = once
                .run(|_| async {
                    tokio::time::sleep(SECOND * 10).await;
                    Ok(PAYLOAD.to_owned())
                })
                .await;
        }
        "result_not_stored" => {
            let once = sentinel.once::<Lied>(key).payload_limit(1);
            assert!(matches!(
                once.run(|_| async { Ok(PAYLOAD.to_owned()) }).await,
                Ok(Outcome::CompletedNotStored(..))
            ));
        }
        "data_loss" => refused_twice(ErrorKind::PossibleDataLoss).await,
        "record_unreadable" => refused_twice(ErrorKind::Corrupt).await,
        "heartbeats_broken" => {
            let asked = Arc::new(Notify::new());
            let sentinel = Sentinel::new(Layered(Silent(Arc::new(MemoryStore::new()), asked.clone())));
            let once = sentinel.once::<Lied>(key).ttl(SECOND * 600).hard_ttl(SECOND * 6000);
            let _ = once
                .run(move |_| async move {
                    asked.notified().await;
                    // The reply is handled, and the next heartbeat is not due.
                    tokio::time::sleep(SECOND).await;
                    Ok(PAYLOAD.to_owned())
                })
                .await;
        }
        "reconciler_failed" => {
            let asked = Arc::new(Notify::new());
            let failing = Sentinel::new(Layered(Unlistable(Arc::new(MemoryStore::new()), asked.clone())));
            let probe =
                failing.reconcile_with("probe", |_| async { ProbeResult::StillUnknown }).every(SECOND * 10);
            let running = probe.start();
            asked.notified().await;
            running.stop().await;
        }
        "survey_failed" => {
            let mut exporter = SurveyExporter::new(Arc::new(NoSurvey), "main").unwrap();
            exporter.pass().await.unwrap_err();
            exporter.pass().await.unwrap_err();
        }
        "taken_over" => {
            let _ = doubt(&sentinel, key).await;
            let taking = sentinel.reconciler(key).operator("ada").reconcile().await.unwrap();
            assert!(matches!(taking, ReconcileOutcome::Taken(_)));
        }
        "decided_by_code" => {
            let _ = doubt(&sentinel, key).await;
            let found = || ProbeResult::happened(&PAYLOAD, "the provider lists it").unwrap();
            let decided =
                sentinel.reconcile_with("probe", move |_| async move { found() }).pass().await.unwrap();
            assert_eq!(decided, 1);
        }
        "decided_by_operator" => {
            let held = sentinel.lease(key).acquire().await.unwrap();
            let LeaseOutcome::Held(lease) = held else { panic!("not held") };
            let eviction = sentinel.evict(Kind::Lease, key, lease.token()).operator("ada");
            assert!(matches!(eviction.evict().await.unwrap().1, EvictReply::Evicted { .. }));
            // The lease is lost by that, which is an event of its own.
            drop(lease);
        }
        "drained" => assert!(sentinel.drain(SECOND).await.is_complete()),
        other => panic!("nothing here causes {other}"),
    }
}

/// A result that the store does not take.
async fn unconfirmed(kind: ErrorKind) {
    let store = Refusing::new(&["complete"]);
    store.0.refuse(StoreError::not_applied(kind, "away"));
    let sentinel = Sentinel::from_arc(store).namespace("billing").unwrap();
    let once = sentinel.once::<Lied>(SECRET).ttl(SECOND * 100).confirm_within(SECOND);
    let outcome = once.run(|_| async { Ok(PAYLOAD.to_owned()) }).await.unwrap();
    assert!(matches!(outcome, Outcome::Unconfirmed(_)), "{outcome:?}");
    tokio::time::sleep(SECOND).await;
}

/// An operator decides about a key while it runs.
async fn superseded(sentinel: &Sentinel) {
    let operator = sentinel.clone();
    let once = sentinel.once::<Lied>(SECRET);
    let outcome = once.run(|run: Run| async move {
        let taking = operator.reconciler(SECRET).operator("ada").expect(run.token()).even_if_alive();
        let ReconcileOutcome::Taken(held) = taking.reconcile().await.unwrap() else { panic!("not taken") };
        let decided = held.force_complete(&PAYLOAD).await.unwrap();
        assert!(matches!(decided, DecisionOutcome::Done { .. }));
        Ok(PAYLOAD.to_owned())
    });
    let outcome = outcome.await.unwrap();
    assert!(matches!(outcome, Outcome::Superseded(..)), "{outcome:?}");
}

/// Two calls that meet the same error, and a successful one between them.
async fn refused_twice(kind: ErrorKind) {
    let store = Refusing::new(&["claim"]);
    let sentinel = Sentinel::from_arc(store.clone());
    for refuse in [true, false, true] {
        store.0.admit();
        if refuse {
            store.0.refuse(StoreError::not_applied(kind, format!("about {SECRET}")));
        }
        let _ = sentinel.once::<Lied>(SECRET).run(|_| async { Ok(PAYLOAD.to_owned()) }).await;
    }
}

/// Answers no heartbeat of a batch.
#[derive(Debug)]
struct Silent(Arc<dyn CoordinationStore>, Arc<Notify>);

/// Cannot be listed.
#[derive(Debug)]
struct Unlistable(Arc<dyn CoordinationStore>, Arc<Notify>);

#[async_trait]
impl Layer for Silent {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.0
    }

    async fn on_op(
        &self,
        address: &Address,
        op: sentinel::kernel::Op,
    ) -> Result<Stamped<sentinel::kernel::Reply>, StoreError> {
        op.send(&*self.0, address).await
    }

    async fn on_heartbeat(&self, _: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        self.1.notify_one();
        Ok(Vec::new())
    }
}

#[async_trait]
impl Layer for Unlistable {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.0
    }

    async fn on_op(
        &self,
        address: &Address,
        op: sentinel::kernel::Op,
    ) -> Result<Stamped<sentinel::kernel::Reply>, StoreError> {
        op.send(&*self.0, address).await
    }

    async fn on_list(&self, _: &List) -> Result<Listing, StoreError> {
        self.1.notify_one();
        Err(StoreError::not_applied(ErrorKind::Unreachable, "away"))
    }
}

/// Never answers.
#[derive(Debug)]
struct NoSurvey;

#[async_trait]
impl Survey for NoSurvey {
    async fn namespaces(&self, _: Option<&Namespace>, _: u32) -> Result<Vec<Namespace>, StoreError> {
        Err(StoreError::not_applied(ErrorKind::Unreachable, "away"))
    }

    async fn undecided(&self, _: &Undecided) -> Result<UndecidedPage, StoreError> {
        Err(StoreError::not_applied(ErrorKind::Unreachable, "away"))
    }

    async fn by_cause(&self, _: &CauseQuery, _: Option<&Address>, _: u32) -> Result<CausePage, StoreError> {
        Err(StoreError::not_applied(ErrorKind::Unreachable, "away"))
    }
}

#[test]
fn each_event_is_reported_once_at_its_level_with_its_fields() {
    for row in EVENTS.iter().filter(|row| !NOT_HERE.iter().any(|(name, _)| *name == row.name)) {
        let recorder = Recorder::during(happens(row.name));
        let events = recorder.events();
        let found: Vec<&Recorded> = events.iter().filter(|event| event.name == row.name).collect();
        let [event] = found[..] else {
            panic!("{} was reported {} times: {events:?}", row.name, found.len())
        };
        assert_eq!(event.level, Some(row.level), "{}", row.name);
        for field in
            row.fields.iter().filter(|field| **field != "bytes" || event.fields["why"] == "too_large")
        {
            assert!(event.fields.contains_key(*field), "{} has no field {field}: {event:?}", row.name);
        }
        let known = |name: &str| row.fields.contains(&name) || ["event", "message", "advice"].contains(&name);
        assert!(event.fields.keys().all(|name| known(name)), "{event:?}");
        for event in events.iter().filter(|event| event.level <= Some(tracing::Level::INFO)) {
            let listed = EVENTS.iter().any(|row| row.name == event.name);
            assert!(listed, "not in the table: {event:?}");
            let text = format!("{:?}", event.fields);
            assert!(!text.contains(SECRET) && !text.contains(PAYLOAD), "{text}");
        }
    }
}

#[test]
fn a_run_that_ends_well_reports_nothing_above_debug() {
    let recorder = Recorder::during(async {
        let sentinel = sentinel();
        let _ = crate::charge(&sentinel, SECRET).await;
        let _ = crate::charge(&sentinel, SECRET).await;
    });
    let loud = recorder.events().into_iter().filter(|event| event.level <= Some(tracing::Level::INFO));
    assert_eq!(loud.count(), 0);
}

#[test]
fn a_decision_that_is_repeated_is_reported_once() {
    let recorder = Recorder::during(async {
        let sentinel = sentinel();
        let _ = doubt(&sentinel, SECRET).await;
        let token = crate::seen(&sentinel, SECRET).await.record.unwrap().token;
        let mut reconcile_token = token;
        for _ in 0..2 {
            let taking = sentinel.reconciler(SECRET).op_id(OpId::from_bits(7)).expect(token);
            let ReconcileOutcome::Taken(held) = taking.reconcile().await.unwrap() else {
                panic!("not taken")
            };
            reconcile_token = held.token();
        }
        for _ in 0..2 {
            let held = sentinel.reconciler(SECRET).resume(reconcile_token).op_id(OpId::from_bits(8));
            let decided = held.force_complete(&PAYLOAD).await.unwrap();
            assert!(matches!(decided, DecisionOutcome::Done { .. }));
        }
    });
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    recorder.events().iter().for_each(|event| *counts.entry(event.name.clone()).or_default() += 1);
    assert_eq!((counts["taken_over"], counts["decided_by_operator"]), (1, 1));
}

#[test]
fn the_table_in_the_operations_guide_is_the_table_of_events() {
    let rows = EVENTS.iter().map(|row| {
        let fields: Vec<String> = row.fields.iter().map(|field| format!("`{field}`")).collect();
        let level = row.level.as_str().to_ascii_lowercase();
        format!("| `{}` | {level} | {} | {} |\n", row.name, fields.join(", "), row.help)
    });
    let table = format!(
        "| Event | Level | Fields | What it reports |\n|---|---|---|---|\n{}",
        rows.collect::<String>()
    );
    super::metrics::is_in_the_guide("events", &table);
}
