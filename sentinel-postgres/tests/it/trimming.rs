//! A record's events are bounded, and what is left of them rebuilds the record.

use std::time::Duration;

use sentinel_conformance::DynHarness as _;
use sentinel_core::kernel::{Rebuilt, rebuild, trim};
use sentinel_core::operation::*;
use sentinel_core::store::Purge;
use sentinel_core::{Address, CoordinationStore as _, Event, EventLimit, Namespace, PURGE_REST};

use crate::harness::{Fixture, call, fused, result, runtime};

/// The limit of these checks.
pub(crate) const FEW: u32 = 8;

fn limit() -> EventLimit {
    EventLimit::new(FEW).unwrap()
}

/// One more event of a kind of life.
async fn step(fixture: &Fixture, address: &Address, how: &str, n: usize) {
    let beside = fixture.execution("beside");
    match (how, n % 2) {
        ("complete" | "complete in a batch", 0) => {
            fixture.advance(Duration::from_secs(1)).await;
            fixture.granted(address, &Claim { retention: Some(Duration::from_millis(1)), ..fused() }).await;
        }
        (_, 0) => drop(fixture.granted(address, &call()).await),
        (_, _) => {
            let record = fixture.record(address).await;
            let grant = sentinel_core::Grant { token: record.token, claim_id: record.claim_id.unwrap() };
            let reply = match how {
                "complete" => fixture.ask(address, Complete { grant, result: result("done") }).await,
                "complete in a batch" => {
                    let other = fixture.execution(&sentinel_core::ClaimId::random().to_string());
                    let complete = Complete { grant, result: result("done") };
                    tokio::join!(fixture.ask(address, complete), fixture.ask(&other, fused())).0
                }
                "release in a batch" => {
                    let nothing = Begin { grant };
                    let release = Release { grant, vouched: false };
                    tokio::join!(fixture.ask(address, release), fixture.ask(&beside, nothing)).0
                }
                _ => fixture.ask(address, Release { grant, vouched: false }).await,
            };
            assert!(reply.stamp.changed, "{reply:?}");
        }
    }
}

async fn is_rebuilt(fixture: &Fixture, address: &Address, events: &[Event]) {
    assert_eq!(rebuild(events), Rebuilt::from(&fixture.record(address).await), "{events:?}");
    let bases: Vec<_> = events.iter().map(|event| event.base.is_some()).collect();
    assert!(bases.iter().skip(1).all(|has| !has), "only the oldest has a base: {bases:?}");
}

/// Records whose addresses are alike, each with as many events as it may have.
async fn lookalikes(fixture: &Fixture) -> Vec<(Fixture, Address)> {
    let mut elsewhere = fixture.clone();
    elsewhere.namespace = Namespace::new(format!("a{}", fixture.namespace.as_str())).unwrap();
    let (execution, lease) = (fixture.execution("often"), fixture.lease("before"));
    let all = vec![
        (elsewhere.clone(), elsewhere.lease("often")),
        (fixture.clone(), execution),
        (fixture.clone(), lease),
    ];
    for (fixture, address) in &all {
        for n in 0..FEW as usize {
            step(fixture, address, "release", n).await;
        }
    }
    all
}

async fn events_of(all: &[(Fixture, Address)]) -> Vec<Vec<Event>> {
    let mut events = Vec::new();
    for (fixture, address) in all {
        events.push(fixture.store.history(address, u32::MAX).await.unwrap());
    }
    events
}

/// All events are kept up to the limit; then the oldest are dropped in one go, by the call that appended one too many,
/// as the kernel drops them.
pub(crate) async fn a_record_keeps_its_newest_events(fixture: &Fixture, how: &str) {
    let others = lookalikes(fixture).await;
    let events_of_others = events_of(&others).await;
    let address = match how {
        "release" | "release in a batch" => fixture.lease("often"),
        _ => fixture.execution("other"),
    };
    let mut expected = Vec::new();
    for n in 0..5 * FEW as usize {
        step(fixture, &address, how, n).await;
        let newest = fixture.store.history(&address, 1).await.unwrap();
        expected.extend(newest.into_iter().map(|event| Event { base: None, ..event }));
        trim(&mut expected, limit());
        let events = fixture.store.history(&address, u32::MAX).await.unwrap();
        assert_eq!(events, expected, "{how}: after {} events", n + 1);
        is_rebuilt(fixture, &address, &events).await;
    }
    assert_eq!(events_of(&others).await, events_of_others);
}

/// The events of a purged record's next life are numbered, counted and trimmed anew.
pub(crate) async fn a_purged_record_begins_to_count_anew(fixture: &Fixture, _: &str) {
    let lease = fixture.lease("purged");
    for n in 0..2 * FEW as usize + 2 {
        step(fixture, &lease, "release", n).await;
    }
    fixture.advance(PURGE_REST * 2).await;
    let purge = Purge { namespace: fixture.namespace.clone(), limit: u32::MAX, dry_run: false };
    assert_eq!(fixture.store.purge(&purge).await.unwrap().records, 1);
    let mut expected = 1;
    for n in 0..2 * FEW as usize {
        step(fixture, &lease, "release", n).await;
        expected = if expected == limit().max() { limit().kept() } else { expected + 1 };
        let events = fixture.store.history(&lease, u32::MAX).await.unwrap();
        assert_eq!(events.len(), expected, "after {n}");
        is_rebuilt(fixture, &lease, &events).await;
    }
}

fn hold(schema: &str, how: &'static [&'static str]) {
    runtime().block_on(async {
        let fixture = Fixture::open(schema, |builder| builder.max_events(limit())).await;
        for how in how {
            a_record_keeps_its_newest_events(&fixture.elsewhere(), how).await;
        }
    });
}

#[test]
fn a_lease_keeps_its_newest_events() {
    hold("trimming_leases", &["release", "release in a batch"]);
}

#[test]
fn an_execution_keeps_its_newest_events() {
    hold("trimming_executions", &["complete", "complete in a batch"]);
}

#[test]
fn a_purged_lease_begins_to_count_anew() {
    runtime().block_on(async {
        let fixture = Fixture::open("trimming_purged", |builder| builder.max_events(limit())).await;
        a_purged_record_begins_to_count_anew(&fixture, "").await;
    });
}

/// What is forgotten because of its age is what a rebuild does not need: the oldest event that is kept has a base.
#[test]
fn events_that_are_dropped_for_their_age_leave_a_base() {
    runtime().block_on(async {
        let kept = Duration::from_secs(7200);
        let fixture = Fixture::open("trimming_by_age", |builder| builder.event_retention(kept)).await;
        let lease = fixture.lease("old");
        for n in 0..5 {
            step(&fixture, &lease, "release", n).await;
        }
        fixture.advance(kept * 2).await;
        let purge = Purge { namespace: fixture.namespace.clone(), limit: u32::MAX, dry_run: false };
        assert_eq!(fixture.store.purge(&purge).await.unwrap().records, 0);
        let events = fixture.store.history(&lease, u32::MAX).await.unwrap();
        assert_eq!((events.len(), events[0].base.is_some()), (1, true), "{events:?}");
        is_rebuilt(&fixture, &lease, &events).await;
    });
}

/// A trim that fails does not fail the transition, and a later one makes up for it.
#[test]
fn a_failed_trim_is_repeated_later() {
    runtime().block_on(async {
        let fixture = Fixture::open("trimming_failed", |builder| builder.max_events(limit())).await;
        let (lease, mut stranger) = (fixture.lease("often"), fixture.stranger().await);
        let events = format!("\"{}\".\"events\"", fixture.schema);
        stranger.run(&format!("ALTER TABLE {events} ADD CONSTRAINT no_base CHECK (base IS NULL)")).await;
        let many = FEW as usize + 2;
        for n in 0..many {
            step(&fixture, &lease, "release", n).await;
        }
        assert_eq!(fixture.store.history(&lease, u32::MAX).await.unwrap().len(), many);
        stranger.run(&format!("ALTER TABLE {events} DROP CONSTRAINT no_base")).await;
        step(&fixture, &lease, "release", many).await;
        let left = fixture.store.history(&lease, u32::MAX).await.unwrap();
        assert_eq!(left.len(), limit().kept());
        is_rebuilt(&fixture, &lease, &left).await;
    });
}
