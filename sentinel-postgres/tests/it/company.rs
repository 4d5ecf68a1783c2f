//! What goes out in one statement: a row that somebody holds, or a claim that loses, delays no neighbour.
//!
//! Rows that one statement wrote have the same `xmin`: that tells who went together, and who had to go alone.

use std::time::Duration;

use futures_util::future::join_all;
use sentinel_core::kernel::Reply;
use sentinel_core::operation::*;
use sentinel_core::{Address, ClaimId, CoordinationStore as _, State};

use crate::locks::insert;
use crate::rig::{Rig, fused, result, runtime};

fn fresh(rig: &Rig) -> Address {
    rig.execution(&ClaimId::random().to_string())
}

/// An execution that waits for its completion.
async fn running(rig: &Rig) -> (Address, Complete) {
    let address = fresh(rig);
    let grant = rig.granted(&address, &fused()).await;
    (address, Complete { grant, result: result("done") })
}

/// How many transactions wrote these rows last.
pub(crate) async fn writers(rig: &Rig, rows: &[&Address]) -> i64 {
    let keys: Vec<_> = rows.iter().map(|address| format!("'{}'", address.key.as_str())).collect();
    let sql = format!(
        "SELECT count(DISTINCT xmin::text) FROM {} WHERE key IN ({})",
        rig.records(),
        keys.join(", ")
    );
    rig.stranger().await.number(&sql).await
}

/// A batch of heartbeats passes over a row that is held: the others are kept, and of that one nothing is said.
pub(crate) async fn a_held_row_delays_no_other_beat(rig: &Rig, _: &str) {
    let mut beats = Vec::new();
    for key in ["a", "b", "c"] {
        let address = rig.lease(&format!("{key}{}", ClaimId::random()));
        let grant = rig.granted(&address, &crate::rig::call()).await;
        beats.push(Beat { address, grant });
    }
    let mut holder = rig.hold(&beats[1].address, None).await;
    let replies = rig.store.heartbeat(&beats).await.expect("the others are kept");
    assert!(matches!(replies[0].reply, HeartbeatReply::Kept { .. }), "{replies:?}");
    assert_eq!(replies[1].reply, HeartbeatReply::Unknown);
    assert!(matches!(replies[2].reply, HeartbeatReply::Kept { .. }), "{replies:?}");
    assert_eq!(writers(rig, &[&beats[0].address, &beats[2].address]).await, 1, "they went together");
    holder.run("COMMIT").await;
    let replies = rig.store.heartbeat(&beats[1..2]).await.unwrap();
    assert!(matches!(replies[0].reply, HeartbeatReply::Kept { .. }));
}

/// A batch of completions passes over a row that is held: the others are recorded together, that one on its own.
pub(crate) async fn a_held_row_delays_no_other_completion(rig: &Rig, _: &str) {
    let [a, b, c] = [running(rig).await, running(rig).await, running(rig).await];
    let mut holder = rig.hold(&a.0, None).await;
    let asked = tokio::spawn({
        let (rig, a, b, c) = (rig.clone(), a.clone(), b.clone(), c.clone());
        async move {
            let (a, b, c) = tokio::join!(
                rig.store.complete(&a.0, &a.1),
                rig.store.complete(&b.0, &b.1),
                rig.store.complete(&c.0, &c.1),
            );
            (a, b.unwrap(), c.unwrap())
        }
    });
    let (records, b_row, c_row) = (rig.records(), rig.row(&b.0), rig.row(&c.0));
    let sql = format!("SELECT count(*) FROM {records} WHERE state = 'completed' AND ({b_row} OR {c_row})");
    rig.stranger().await.until(&sql, |completed| completed == 2).await;
    assert_eq!(rig.record(&a.0).await.state, State::Executing);
    assert_eq!(writers(rig, &[&b.0, &c.0]).await, 1, "they went together");
    holder.run("COMMIT").await;
    let (told, ..) = asked.await.unwrap();
    // How long it waits is the store's choice; what it says is not.
    match told {
        Ok(told) => assert_eq!(told.reply, CompleteReply::Recorded { late: false }),
        Err(error) => assert_eq!(error.kind(), sentinel_core::ErrorKind::Busy),
    }
}

/// What is flushed was locked before it was judged: a completion of a row that changes hands meanwhile is refused.
pub(crate) async fn a_held_row_is_not_flushed(rig: &Rig, _: &str) {
    for _ in 0..5 {
        let [a, b] = [running(rig).await, running(rig).await];
        let change = "token = token + 10, claim_id = gen_random_uuid()";
        let mut holder = rig.hold(&a.0, Some(change)).await;
        let asked = tokio::spawn({
            let rig = rig.clone();
            async move { tokio::join!(rig.ask(&a.0, a.1), rig.ask(&b.0, b.1)) }
        });
        rig.waits(&mut holder, 1).await;
        holder.run("COMMIT").await;
        let (told, _) = asked.await.unwrap();
        assert!(matches!(told.reply, Reply::Complete(CompleteReply::Superseded(_))), "{told:?}");
    }
}

/// A claim that loses its insert to somebody takes none of its neighbours with it.
pub(crate) async fn a_lost_insert_delays_no_other_claim(rig: &Rig, _: &str) {
    // A statement for many does not wait for long: on a slow machine the insert comes too late for some rounds.
    for _ in 0..10 {
        let [a, b, c] = [fresh(rig), fresh(rig), fresh(rig)];
        let (mut other, _) = insert(rig, &a, "claimed").await;
        let asked = tokio::spawn({
            let (rig, a, b, c) = (rig.clone(), a, b.clone(), c.clone());
            async move { tokio::join!(rig.ask(&a, fused()), rig.ask(&b, fused()), rig.ask(&c, fused())) }
        });
        rig.waits(&mut other, 1).await;
        other.run("COMMIT").await;
        let (lost, ..) = asked.await.unwrap();
        assert!(matches!(lost.reply, Reply::Claim(ClaimReply::InProgress { .. })), "{lost:?}");
        if writers(rig, &[&b, &c]).await == 1 {
            return;
        }
    }
    panic!("its neighbours were always claimed one by one");
}

/// Late or not, completions that come together are recorded together.
pub(crate) async fn a_completion_in_company_takes_no_other_way(rig: &Rig, _: &str) {
    for wait in [0, 2 * crate::rig::HARD.as_micros() as i64] {
        let [a, b] = [running(rig).await, running(rig).await];
        rig.move_clock(wait);
        tokio::join!(rig.ask(&a.0, a.1.clone()), rig.ask(&b.0, b.1.clone()));
        assert_eq!(writers(rig, &[&a.0, &b.0]).await, 1);
    }
}

/// So do begins, and claims and releases of rows that are there: of three the held one alone is not begun.
pub(crate) async fn a_held_row_delays_no_other_begin(rig: &Rig, _: &str) {
    let mut begins = Vec::new();
    for _ in 0..3 {
        let address = fresh(rig);
        let grant = rig.granted(&address, &crate::rig::call()).await;
        begins.push((address, Begin { grant }));
    }
    let mut holder = rig.hold(&begins[0].0, None).await;
    let asked = tokio::spawn({
        let (rig, begins) = (rig.clone(), begins.clone());
        async move { join_all(begins.iter().map(|(address, begin)| rig.store.begin(address, begin))).await }
    });
    let (records, b, c) = (rig.records(), rig.row(&begins[1].0), rig.row(&begins[2].0));
    let sql = format!("SELECT count(*) FROM {records} WHERE state = 'executing' AND ({b} OR {c})");
    rig.stranger().await.until(&sql, |begun| begun == 2).await;
    assert_eq!(rig.record(&begins[0].0).await.state, State::Claimed);
    assert_eq!(writers(rig, &[&begins[1].0, &begins[2].0]).await, 1, "they went together");
    holder.run("COMMIT").await;
    assert!(asked.await.unwrap()[1..].iter().all(Result::is_ok));
}

/// A row that changes hands is not turned by what was known of it before.
pub(crate) async fn a_held_row_is_not_turned(rig: &Rig, _: &str) {
    for _ in 0..5 {
        let [a, b] = [fresh(rig), fresh(rig)];
        let [one, two] =
            [rig.granted(&a, &crate::rig::call()).await, rig.granted(&b, &crate::rig::call()).await];
        let mut holder = rig.hold(&a, Some("token = token + 10, claim_id = gen_random_uuid()")).await;
        let asked = tokio::spawn({
            let rig = rig.clone();
            async move { tokio::join!(rig.ask(&a, Begin { grant: one }), rig.ask(&b, Begin { grant: two })) }
        });
        rig.waits(&mut holder, 1).await;
        holder.run("COMMIT").await;
        let (told, _) = asked.await.unwrap();
        assert!(matches!(told.reply, Reply::Begin(BeginReply::Superseded(_))), "{told:?}");
    }
}

/// The one reading of a statement for many is taken once it has what it waits for.
pub(crate) async fn a_turn_is_read_when_it_begins(rig: &Rig, _: &str) {
    for _ in 0..5 {
        let [a, b] = [fresh(rig), fresh(rig)];
        let [one, two] =
            [rig.granted(&a, &crate::rig::call()).await, rig.granted(&b, &crate::rig::call()).await];
        let mut holder = rig.stranger().await;
        holder.run(&format!("BEGIN; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", rig.records())).await;
        let asked = tokio::spawn({
            let rig = rig.clone();
            async move { tokio::join!(rig.ask(&a, Begin { grant: one }), rig.ask(&b, Begin { grant: two })).0 }
        });
        rig.waits(&mut holder, 1).await;
        let clock = holder.clock().await;
        holder.run("COMMIT").await;
        let now = asked.await.unwrap().stamp.now.as_micros();
        assert!(now >= clock, "begun at {now}, when the table was held until {clock} or later");
    }
}

/// What is answered by the statement for many was written by it, whichever operation it was.
pub(crate) async fn a_turn_takes_no_other_way(rig: &Rig, how: &str) {
    let [a, b] = [(); 2].map(|()| rig.lease(&ClaimId::random().to_string()));
    let [one, two] = [rig.granted(&a, &crate::rig::call()).await, rig.granted(&b, &crate::rig::call()).await];
    let release = async || {
        let told = [one, two].map(|grant| Release { grant, vouched: false });
        tokio::join!(rig.ask(&a, told[0]), rig.ask(&b, told[1]));
    };
    match how {
        "release" => release().await,
        "claim" => {
            release().await;
            tokio::join!(rig.ask(&a, crate::rig::call()), rig.ask(&b, crate::rig::call()));
        }
        _ => {
            rig.move_clock(crate::rig::HARD.as_micros() as i64);
            tokio::join!(rig.ask(&a, crate::rig::call()), rig.ask(&b, crate::rig::call()));
        }
    }
    assert_eq!(writers(rig, &[&a, &b]).await, 1, "{how}");
}

macro_rules! tests {
    ($($check:ident,)*) => {
        mod holds {$(
            #[test]
            fn $check() {
                super::runtime().block_on(async {
                    let brief = super::Duration::from_secs(1);
                    // One of them locks the table.
                    let schema = concat!("company_", stringify!($check));
                    let rig = super::Rig::open(schema, |builder| builder.lock_timeout(brief)).await;
                    for how in ["claim", "release", "take over"] {
                        super::$check(&rig, how).await;
                    }
                });
            }
        )*}
    };
}

tests! {
    a_held_row_delays_no_other_beat,
    a_held_row_delays_no_other_completion,
    a_held_row_is_not_flushed,
    a_lost_insert_delays_no_other_claim,
    a_completion_in_company_takes_no_other_way,
    a_held_row_delays_no_other_begin,
    a_held_row_is_not_turned,
    a_turn_is_read_when_it_begins,
    a_turn_takes_no_other_way,
}
