//! Operations in one statement: a row that another transaction holds, or a claim that loses, delays no other operation.
//!
//! Rows that one statement wrote have the same `xmin`: that shows which were in a batch, and which were sent alone.

use std::time::Duration;

use futures_util::future::join_all;
use sentinel_core::kernel::Reply;
use sentinel_core::operation::*;
use sentinel_core::{Address, Cause, Change, ClaimId, CoordinationStore as _, Label, Root, State};

use crate::harness::{Fixture, fused, result, runtime};
use crate::locks::insert;

fn fresh(fixture: &Fixture) -> Address {
    fixture.execution(&ClaimId::random().to_string())
}

/// An execution that waits for its completion.
async fn running(fixture: &Fixture) -> (Address, Complete) {
    let address = fresh(fixture);
    let grant = fixture.granted(&address, &fused()).await;
    (address, Complete { grant, result: result("done") })
}

/// How many transactions wrote these rows last.
pub(crate) async fn writers(fixture: &Fixture, rows: &[&Address]) -> i64 {
    let keys: Vec<_> = rows.iter().map(|address| format!("'{}'", address.key.as_str())).collect();
    let sql = format!(
        "SELECT count(DISTINCT xmin::text) FROM {} WHERE key IN ({})",
        fixture.records(),
        keys.join(", ")
    );
    fixture.stranger().await.number(&sql).await
}

/// A batch of heartbeats passes over a row that is held: the others are kept, and that one is not in the result.
pub(crate) async fn a_locked_row_delays_no_other_heartbeat(fixture: &Fixture, _: &str) {
    let mut beats = Vec::new();
    for key in ["a", "b", "c"] {
        let address = fixture.lease(&format!("{key}{}", ClaimId::random()));
        let grant = fixture.granted(&address, &crate::harness::call()).await;
        beats.push(Beat { address, grant });
    }
    let mut holder = fixture.hold(&beats[1].address, None).await;
    let replies = fixture.store.heartbeat(&beats).await.expect("the others are kept");
    assert!(matches!(replies[0].reply, HeartbeatReply::Kept { .. }), "{replies:?}");
    assert_eq!(replies[1].reply, HeartbeatReply::Unknown);
    assert!(matches!(replies[2].reply, HeartbeatReply::Kept { .. }), "{replies:?}");
    assert_eq!(writers(fixture, &[&beats[0].address, &beats[2].address]).await, 1, "they went together");
    holder.run("COMMIT").await;
    let replies = fixture.store.heartbeat(&beats[1..2]).await.unwrap();
    assert!(matches!(replies[0].reply, HeartbeatReply::Kept { .. }));
}

/// A batch of completions passes over a row that is held: the others are recorded together, that one on its own.
pub(crate) async fn a_locked_row_delays_no_other_completion(fixture: &Fixture, _: &str) {
    let [a, b, c] = [running(fixture).await, running(fixture).await, running(fixture).await];
    let mut holder = fixture.hold(&a.0, None).await;
    let asked = tokio::spawn({
        let (fixture, a, b, c) = (fixture.clone(), a.clone(), b.clone(), c.clone());
        async move {
            let (a, b, c) = tokio::join!(
                fixture.store.complete(&a.0, &a.1),
                fixture.store.complete(&b.0, &b.1),
                fixture.store.complete(&c.0, &c.1),
            );
            (a, b.unwrap(), c.unwrap())
        }
    });
    let (records, b_row, c_row) = (fixture.records(), fixture.row(&b.0), fixture.row(&c.0));
    let sql = format!("SELECT count(*) FROM {records} WHERE state = 'completed' AND ({b_row} OR {c_row})");
    fixture.stranger().await.until(&sql, |completed| completed == 2).await;
    assert_eq!(fixture.record(&a.0).await.state, State::Executing);
    assert_eq!(writers(fixture, &[&b.0, &c.0]).await, 1, "they went together");
    holder.run("COMMIT").await;
    let (reply, ..) = asked.await.unwrap();
    // How long it waits is the store's choice; what it replies is not.
    match reply {
        Ok(reply) => assert_eq!(reply.reply, CompleteReply::Recorded { late: false }),
        Err(error) => assert_eq!(error.kind(), sentinel_core::ErrorKind::Busy),
    }
}

/// What is flushed was locked before it was judged: a completion of a row that changes hands meanwhile is refused.
pub(crate) async fn a_locked_row_is_not_completed_in_a_batch(fixture: &Fixture, _: &str) {
    for _ in 0..5 {
        let [a, b] = [running(fixture).await, running(fixture).await];
        let change = "token = token + 10, claim_id = gen_random_uuid()";
        let mut holder = fixture.hold(&a.0, Some(change)).await;
        let asked = tokio::spawn({
            let fixture = fixture.clone();
            async move { tokio::join!(fixture.ask(&a.0, a.1), fixture.ask(&b.0, b.1)) }
        });
        fixture.waits(&mut holder, 1).await;
        holder.run("COMMIT").await;
        let (reply, _) = asked.await.unwrap();
        assert!(matches!(reply.reply, Reply::Complete(CompleteReply::Superseded(_))), "{reply:?}");
    }
}

/// A claim that loses its insert affects no other claim of its batch.
pub(crate) async fn a_lost_insert_delays_no_other_claim(fixture: &Fixture, _: &str) {
    // A statement for many does not wait for long: on a slow machine the insert comes too late for some rounds.
    for _ in 0..10 {
        let [a, b, c] = [fresh(fixture), fresh(fixture), fresh(fixture)];
        let (mut other, _) = insert(fixture, &a, "claimed").await;
        let asked = tokio::spawn({
            let (fixture, a, b, c) = (fixture.clone(), a, b.clone(), c.clone());
            async move {
                tokio::join!(fixture.ask(&a, fused()), fixture.ask(&b, fused()), fixture.ask(&c, fused()))
            }
        });
        fixture.waits(&mut other, 1).await;
        other.run("COMMIT").await;
        let (lost, ..) = asked.await.unwrap();
        assert!(matches!(lost.reply, Reply::Claim(ClaimReply::InProgress { .. })), "{lost:?}");
        if writers(fixture, &[&b, &c]).await == 1 {
            return;
        }
    }
    panic!("its neighbours were always claimed one by one");
}

/// Late or not, completions that come together are recorded together.
pub(crate) async fn completions_in_a_batch_share_one_statement(fixture: &Fixture, _: &str) {
    for wait in [0, 2 * crate::harness::HARD.as_micros() as i64] {
        let [a, b] = [running(fixture).await, running(fixture).await];
        fixture.move_clock(wait);
        tokio::join!(fixture.ask(&a.0, a.1.clone()), fixture.ask(&b.0, b.1.clone()));
        assert_eq!(writers(fixture, &[&a.0, &b.0]).await, 1);
    }
}

/// So do begins, and claims and releases of rows that are there: of three the held one alone is not begun.
pub(crate) async fn a_locked_row_delays_no_other_begin(fixture: &Fixture, _: &str) {
    let mut begins = Vec::new();
    for _ in 0..3 {
        let address = fresh(fixture);
        let grant = fixture.granted(&address, &crate::harness::call()).await;
        begins.push((address, Begin { grant }));
    }
    let mut holder = fixture.hold(&begins[0].0, None).await;
    let asked = tokio::spawn({
        let (fixture, begins) = (fixture.clone(), begins.clone());
        async move { join_all(begins.iter().map(|(address, begin)| fixture.store.begin(address, begin))).await }
    });
    let (records, b, c) = (fixture.records(), fixture.row(&begins[1].0), fixture.row(&begins[2].0));
    let sql = format!("SELECT count(*) FROM {records} WHERE state = 'executing' AND ({b} OR {c})");
    fixture.stranger().await.until(&sql, |begun| begun == 2).await;
    assert_eq!(fixture.record(&begins[0].0).await.state, State::Claimed);
    assert_eq!(writers(fixture, &[&begins[1].0, &begins[2].0]).await, 1, "they went together");
    holder.run("COMMIT").await;
    assert!(asked.await.unwrap()[1..].iter().all(Result::is_ok));
}

/// A row that changes hands is not updated by what was known of it before.
pub(crate) async fn a_locked_row_is_not_updated_in_a_batch(fixture: &Fixture, _: &str) {
    for _ in 0..5 {
        let [a, b] = [fresh(fixture), fresh(fixture)];
        let [one, two] = [
            fixture.granted(&a, &crate::harness::call()).await,
            fixture.granted(&b, &crate::harness::call()).await,
        ];
        let mut holder = fixture.hold(&a, Some("token = token + 10, claim_id = gen_random_uuid()")).await;
        let asked = tokio::spawn({
            let fixture = fixture.clone();
            async move {
                tokio::join!(fixture.ask(&a, Begin { grant: one }), fixture.ask(&b, Begin { grant: two }))
            }
        });
        fixture.waits(&mut holder, 1).await;
        holder.run("COMMIT").await;
        let (reply, _) = asked.await.unwrap();
        assert!(matches!(reply.reply, Reply::Begin(BeginReply::Superseded(_))), "{reply:?}");
    }
}

/// The one reading of a statement for many is taken once it has what it waits for.
pub(crate) async fn an_update_in_a_batch_is_read_when_it_begins(fixture: &Fixture, _: &str) {
    for _ in 0..5 {
        let [a, b] = [fresh(fixture), fresh(fixture)];
        let [one, two] = [
            fixture.granted(&a, &crate::harness::call()).await,
            fixture.granted(&b, &crate::harness::call()).await,
        ];
        let mut holder = fixture.stranger().await;
        holder.run(&format!("BEGIN; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", fixture.records())).await;
        let asked = tokio::spawn({
            let fixture = fixture.clone();
            async move {
                tokio::join!(fixture.ask(&a, Begin { grant: one }), fixture.ask(&b, Begin { grant: two })).0
            }
        });
        fixture.waits(&mut holder, 1).await;
        let clock = holder.clock().await;
        holder.run("COMMIT").await;
        let now = asked.await.unwrap().stamp.now.as_micros();
        assert!(now >= clock, "begun at {now}, when the table was held until {clock} or later");
    }
}

fn because(name: &str) -> Claim {
    let (root, about) = (Root::new(name).unwrap(), Label::new(format!("about {name}")).unwrap());
    Claim { cause: Some(Cause::new(root)), about: Some(about), ..crate::harness::call() }
}

/// Record and event have what the claim has.
async fn assert_cause(fixture: &Fixture, address: &Address, claim: &Claim) {
    let record = fixture.store.inspect(address).await.unwrap().record.unwrap();
    assert_eq!((&record.cause, &record.about), (&claim.cause, &claim.about));
    let [event] = &fixture.store.history(address, 1).await.unwrap()[..] else { panic!("no event") };
    let Change::Claimed { cause, about, .. } = &event.change else { panic!("{event:?}") };
    assert_eq!((cause, about), (&claim.cause, &claim.about));
}

/// What is answered by the statement for many was written by it, whichever operation it was.
pub(crate) async fn updates_in_a_batch_share_one_statement(fixture: &Fixture, how: &str) {
    let [a, b] = [(); 2].map(|()| fixture.lease(&ClaimId::random().to_string()));
    let [one, two] = [
        fixture.granted(&a, &crate::harness::call()).await,
        fixture.granted(&b, &crate::harness::call()).await,
    ];
    let release = async || {
        let reply = [one, two].map(|grant| Release { grant, vouched: false });
        tokio::join!(fixture.ask(&a, reply[0]), fixture.ask(&b, reply[1]));
    };
    match how {
        "release" => release().await,
        "claim" => {
            release().await;
            let claims = ["one", "two"].map(because);
            tokio::join!(fixture.ask(&a, claims[0].clone()), fixture.ask(&b, claims[1].clone()));
            for (address, claim) in [&a, &b].into_iter().zip(&claims) {
                assert_cause(fixture, address, claim).await;
            }
        }
        _ => {
            fixture.move_clock(crate::harness::HARD.as_micros() as i64);
            tokio::join!(fixture.ask(&a, crate::harness::call()), fixture.ask(&b, crate::harness::call()));
        }
    }
    assert_eq!(writers(fixture, &[&a, &b]).await, 1, "{how}");
}

macro_rules! tests {
    ($($check:ident,)*) => {
        mod holds {$(
            #[test]
            fn $check() {
                super::runtime().block_on(async {
                    let brief = super::Duration::from_secs(1);
                    // One of them locks the table.
                    let schema = concat!("batch_", stringify!($check));
                    let fixture = super::Fixture::open(schema, |builder| builder.lock_timeout(brief)).await;
                    for how in ["claim", "release", "take over"] {
                        super::$check(&fixture, how).await;
                    }
                });
            }
        )*}
    };
}

tests! {
    a_locked_row_delays_no_other_heartbeat,
    a_locked_row_delays_no_other_completion,
    a_locked_row_is_not_completed_in_a_batch,
    a_lost_insert_delays_no_other_claim,
    completions_in_a_batch_share_one_statement,
    a_locked_row_delays_no_other_begin,
    a_locked_row_is_not_updated_in_a_batch,
    an_update_in_a_batch_is_read_when_it_begins,
    updates_in_a_batch_share_one_statement,
}
