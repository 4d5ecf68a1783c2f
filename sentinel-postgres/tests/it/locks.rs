//! Transactions of others that hold a row: what waits for them reads clock and record afterwards.
//!
//! Each check takes a store, so that the list of mutants can hand it one that is broken.

use std::time::Duration;

use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::{Address, ClaimId, Grant, OpId, Token};

use crate::rig::{Rig, Stranger, call, fused, label, result, runtime};

/// Beside a request of another key, and so in a statement for many.
const IN_COMPANY: &str = "in company";

/// The operations that lock a row.
pub(crate) const OPERATIONS: [&str; 12] = [
    "claim",
    "begin",
    "heartbeat",
    "heartbeat of a lease",
    "complete",
    "cancel",
    "release",
    "abandon",
    "reconcile",
    "force_complete",
    "reset_to_claimed",
    "evict",
];

/// A record that was led to where an operation changes it, and the operation.
async fn scene(rig: &Rig, operation: &str) -> (Address, Op) {
    let key = ClaimId::random().to_string();
    let address = if operation == "heartbeat of a lease" { rig.lease(&key) } else { rig.execution(&key) };
    let begun =
        ["complete", "abandon", "reconcile", "force_complete", "reset_to_claimed"].contains(&operation);
    let grant = rig.granted(&address, &if begun { fused() } else { call() }).await;
    let op = match operation {
        "claim" => {
            rig.ask(&address, Release { grant, vouched: false }).await;
            call().into()
        }
        "begin" => Begin { grant }.into(),
        "heartbeat" | "heartbeat of a lease" => Heartbeat { grant }.into(),
        "complete" => Complete { grant, result: result("done") }.into(),
        "cancel" => Cancel { claim_id: grant.claim_id }.into(),
        "release" => Release { grant, vouched: false }.into(),
        "abandon" => {
            Abandon { grant, cause: label("no contact"), late_effects: std::time::Duration::ZERO }.into()
        }
        "evict" => {
            Evict { op_id: OpId::random(), operator: label("olga"), reason: None, expect: grant.token }.into()
        }
        "reconcile" => taking(grant.token).into(),
        _ => settling(rig, &address, grant, operation).await,
    };
    (address, op)
}

fn taking(seen: Token) -> Reconcile {
    Reconcile {
        op_id: OpId::random(),
        operator: label("olga"),
        reason: None,
        expect: seen,
        even_if_alive: true,
        steal: false,
    }
}

async fn settling(rig: &Rig, address: &Address, grant: Grant, operation: &str) -> Op {
    let taken = rig.ask(address, taking(grant.token)).await;
    let Reply::Reconcile(ReconcileReply::Taken { token, .. }) = taken.reply else { panic!("{taken:?}") };
    let (op_id, operator) = (OpId::random(), label("olga"));
    match operation {
        "force_complete" => {
            ForceComplete { op_id, token, operator, reason: None, result: result("found"), as_is: false }
                .into()
        }
        "reset_to_claimed" => {
            ResetToClaimed { op_id, token, operator, reason: None, accept_overlap: true }.into()
        }
        other => panic!("no scene for {other}"),
    }
}

/// Sends an operation on a row that is held, and lets go of the row once the operation waits for it. Answers with the
/// server's clock before that.
async fn across(rig: &Rig, mut holder: Stranger, address: &Address, op: Op) -> (Stamped<Reply>, u64) {
    let mut asked = tokio::spawn({
        let (rig, address) = (rig.clone(), address.clone());
        async move { rig.ask(&address, op).await }
    });
    tokio::select! {
        () = rig.waits(&mut holder, 1) => {}
        answer = &mut asked => panic!("answered while the row was held: {answer:?}"),
    }
    let clock = holder.clock().await;
    holder.run("COMMIT").await;
    (asked.await.unwrap(), clock)
}

/// The reading is taken when the row is locked, not while it is waited for: also where the row was only locked.
pub(crate) async fn the_reading_follows_the_wait(rig: &Rig, operation: &str) {
    for change in [None, Some("key = key")] {
        let (address, op) = scene(rig, operation).await;
        let holder = rig.hold(&address, change).await;
        let (answer, clock) = across(rig, holder, &address, op).await;
        let now = answer.stamp.now.as_micros();
        assert!(answer.stamp.changed, "{operation} changed nothing: {answer:?}");
        assert!(
            now >= clock,
            "{operation} was judged by {now}, when the row was held until {clock} or later"
        );
        assert_eq!(rig.record(&address).await.last_now.as_micros(), now);
    }
}

/// The record is judged as the holder left it, not as it was when the operation came.
pub(crate) async fn the_record_is_judged_as_it_was_left(rig: &Rig, operation: &str) {
    let (address, op) = scene(rig, operation).await;
    let change = match &op {
        Op::Claim(claim) => format!("past_claims = ARRAY['{}'::uuid]", claim.claim_id),
        _ => "token = token + 10, claim_id = gen_random_uuid()".into(),
    };
    let holder = rig.hold(&address, Some(&change)).await;
    let (answer, _) = across(rig, holder, &address, op).await;
    assert!(!answer.stamp.changed, "{operation} was judged by what was no longer so: {answer:?}");
}

/// A row is found whatever life it has by the time it is locked: a purge that is waited for begins a new one.
pub(crate) async fn a_row_that_began_a_new_life_meanwhile_is_found(rig: &Rig, operation: &str) {
    let (address, op) = scene(rig, operation).await;
    let holder = rig.hold(&address, Some("life = life + 1")).await;
    let (answer, _) = across(rig, holder, &address, op).await;
    assert!(answer.stamp.changed, "{operation} did not find the row: {answer:?}");
}

/// A token is drawn above the one that the row has when it is locked.
pub(crate) async fn a_token_is_drawn_under_the_lock(rig: &Rig, _: &str) {
    let (address, op) = scene(rig, "claim").await;
    let holder = rig.hold(&address, Some(&format!("token = {RAISED}"))).await;
    let (answer, _) = across(rig, holder, &address, op).await;
    assert_eq!(answer.stamp.token.get(), RAISED + 1);
}

/// A token that a record may have got from a clock that ran ahead: by a century.
const RAISED: u64 = 1 << 52;

/// A row whose token is ahead of the clock draws the next one above it.
pub(crate) async fn a_token_is_drawn_above_the_rows(rig: &Rig, operation: &str) {
    let (address, mut op) = scene(rig, operation).await;
    let (records, row) = (rig.records(), rig.row(&address));
    rig.stranger().await.run(&format!("UPDATE {records} SET token = {RAISED} WHERE {row}")).await;
    match &mut op {
        Op::Claim(_) => {}
        Op::Reconcile(op) => op.expect = Token::from_stored(RAISED),
        Op::Evict(op) => op.expect = Token::from_stored(RAISED),
        Op::ResetToClaimed(op) => op.token = Token::from_stored(RAISED),
        other => panic!("{other:?} draws no token"),
    }
    let answer = rig.ask(&address, op).await;
    assert_eq!((answer.stamp.changed, answer.stamp.token.get()), (true, RAISED + 1), "{answer:?}");
}

/// A claim that was lapsed when it was looked at, and is something else once it is locked, is answered by what it is.
pub(crate) async fn what_changed_meanwhile_is_not_taken_over(rig: &Rig, into: &str) {
    let address = rig.execution(&ClaimId::random().to_string());
    rig.granted(&address, &call()).await;
    rig.move_clock(crate::rig::HARD.as_micros() as i64);
    let change = match into {
        "executing" => "state = 'executing', begun_at = claimed_at".to_owned(),
        kept => {
            let retention = if kept == "completed" { "NULL" } else { "9223372036854775807" };
            format!(
                "state = 'completed', verdict = 'success', omitted = false, content_type = 'text', payload = '', \
                 completed_at = claimed_at, retention = {retention}"
            )
        }
    };
    let holder = rig.hold(&address, Some(&change)).await;
    let (answer, _) = across(rig, holder, &address, fused().into()).await;
    rig.move_clock(-(crate::rig::HARD.as_micros() as i64));
    match (into, &answer.reply) {
        ("executing", Reply::Claim(ClaimReply::Uncertain { .. })) => {}
        ("completed" | "completed for long", Reply::Claim(ClaimReply::Completed { .. })) => {}
        _ => panic!("after it became {into}: {answer:?}"),
    }
}

/// A server's clock that was set back is lifted to the record's last reading.
pub(crate) async fn a_clock_that_was_set_back_is_lifted(rig: &Rig, operation: &str) {
    let (operation, how) = match operation.split_once(" in ") {
        Some((operation, how)) => (operation, Some(how)),
        None => (operation, None),
    };
    let (address, op) = scene(rig, operation).await;
    let last = rig.record(&address).await.last_now;
    rig.move_clock(-60_000_000);
    let answer = match how {
        None => rig.ask(&address, op).await,
        // Beside another of its lane.
        Some(_) => {
            let (other, claim) = (rig.execution(&ClaimId::random().to_string()), call());
            let begin = Begin { grant: Grant { token: Token::NONE, claim_id: claim.claim_id } };
            let elsewhere = rig.execution("nothing");
            tokio::join!(rig.ask(&address, op), rig.ask(&other, claim), rig.ask(&elsewhere, begin)).0
        }
    };
    rig.move_clock(60_000_000);
    assert!(answer.stamp.now >= last, "{operation} ran backwards: {last}, then {answer:?}");
    let record = rig.record(&address).await;
    assert!(record.last_now >= last && record.completed_at.is_none_or(|at| at >= last));
}

/// A grant counts at its address, and not at one whose namespace or kind is another, should it stand there too.
pub(crate) async fn a_grant_counts_at_its_address(rig: &Rig, operation: &str) {
    let (operation, in_company) = match operation.split_once(" in ") {
        Some((operation, _)) => (operation, true),
        None => (operation, false),
    };
    let (later, operation) = match operation.strip_prefix("later ") {
        Some(operation) => (true, operation),
        None => (false, operation),
    };
    let (address, op) = scene(rig, operation).await;
    let (records, row) = (rig.records(), rig.row(&address));
    let mut stranger = rig.stranger().await;
    if later {
        // As after a first run: what comes next is told by an event.
        stranger.run(&format!("UPDATE {records} SET implied = 0 WHERE {row}")).await;
    }
    for (n, change) in [
        "namespace = 'twin-' || namespace",
        "kind = CASE kind WHEN 'lease' THEN 'execution' ELSE 'lease' END",
    ]
    .map(|change| change.replace("'lease'", &format!("'lease'::\"{}\".\"kind\"", rig.schema)))
    .into_iter()
    .enumerate()
    {
        stranger
            .run(&format!(
                "CREATE TEMPORARY TABLE twin{n} AS SELECT * FROM {records} WHERE {row}; UPDATE twin{n} SET {change}; \
                 INSERT INTO {records} OVERRIDING USER VALUE SELECT * FROM twin{n}"
            ))
            .await;
    }
    let changed = format!(
        "SELECT sum(rev)::int8 FROM {records} WHERE key = '{}' AND NOT ({row})",
        address.key.as_str()
    );
    let before = stranger.number(&changed).await;
    let answer = match in_company {
        false => rig.ask(&address, op).await,
        true => {
            let begin = Begin { grant: Grant { token: Token::NONE, claim_id: ClaimId::random() } };
            let (claimed, nothing) =
                (rig.execution(&ClaimId::random().to_string()), rig.execution("nothing"));
            tokio::join!(rig.ask(&address, op), rig.ask(&claimed, call()), rig.ask(&nothing, begin)).0
        }
    };
    assert!(answer.stamp.changed);
    assert_eq!(stranger.number(&changed).await, before, "{operation} changed what only looks alike");
}

/// A decision that was taken is taken: under the same id it is not taken again, whatever else it says.
pub(crate) async fn a_decision_is_taken_once(rig: &Rig, _: &str) {
    let address = rig.execution(&ClaimId::random().to_string());
    let grant = rig.granted(&address, &fused()).await;
    let taking = taking(grant.token);
    let first = rig.ask(&address, taking.clone()).await;
    let again = Reconcile { expect: first.stamp.token, steal: true, ..taking };
    let second = rig.ask(&address, again).await;
    assert_eq!((second.stamp.changed, second.stamp.token), (false, first.stamp.token), "{second:?}");
}

/// An insert that waits for the whole table reads the clock when it is let in.
pub(crate) async fn an_insert_is_read_when_it_begins(rig: &Rig, how: &str) {
    for _ in 0..5 {
        let mut holder = rig.stranger().await;
        holder.run(&format!("BEGIN; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", rig.records())).await;
        let addresses = [(); 2].map(|()| rig.execution(&ClaimId::random().to_string()));
        let asked = tokio::spawn({
            let (rig, how, [one, two]) = (rig.clone(), how.to_owned(), addresses.clone());
            async move {
                match how.as_str() {
                    IN_COMPANY => tokio::join!(rig.ask(&one, fused()), rig.ask(&two, fused())).0,
                    _ => rig.ask(&one, fused()).await,
                }
            }
        });
        rig.waits(&mut holder, 1).await;
        let clock = holder.clock().await;
        holder.run("COMMIT").await;
        let now = asked.await.unwrap().stamp.now.as_micros();
        assert!(now >= clock, "granted at {now}, when the table was held until {clock} or later");
    }
}

/// A cancel that loses to another's insert looks again, and finds the row.
pub(crate) async fn a_cancel_that_lost_its_insert_looks_again(rig: &Rig, _: &str) {
    let address = rig.execution(&ClaimId::random().to_string());
    let (other, _) = insert(rig, &address, "claimed").await;
    let (answer, _) = across(rig, other, &address, Cancel { claim_id: ClaimId::random() }.into()).await;
    assert!(matches!(answer.reply, Reply::Cancel(CancelReply::Untouched(_))), "{answer:?}");
}

/// An insert that waits for another's insert and outlives it grants nothing longer than was asked for, counted from
/// before the wait.
pub(crate) async fn an_insert_past_one_that_was_rolled_back(rig: &Rig) {
    let address = rig.execution(&ClaimId::random().to_string());
    let (mut other, before) = insert(rig, &address, "free").await;
    let asked = tokio::spawn({
        let (rig, address) = (rig.clone(), address.clone());
        async move { rig.ask(&address, fused()).await }
    });
    rig.waits(&mut other, 1).await;
    let clock = other.clock().await;
    other.run("ROLLBACK").await;
    let answer = asked.await.unwrap();
    let Reply::Claim(ClaimReply::Granted(granted)) = answer.reply else { panic!("{answer:?}") };
    assert!(granted.token.get() > before && granted.token.get() > answer.stamp.now.as_micros());
    assert_eq!(granted.lease_until, answer.stamp.now.plus(crate::rig::TTL));
    assert!(answer.stamp.now.as_micros() <= clock || rig.record(&address).await.last_now == answer.stamp.now);
    assert_eq!((answer.stamp.rev, answer.stamp.changed), (1, true));
}

/// A row that somebody is about to insert, and the clock before that.
pub(crate) async fn insert(rig: &Rig, address: &Address, state: &str) -> (Stranger, u64) {
    let template = rig.execution(&ClaimId::random().to_string());
    let grant = rig.granted(&template, &call()).await;
    if state == "free" {
        rig.ask(&template, Release { grant, vouched: false }).await;
    }
    let mut other = rig.stranger().await;
    let clock = other.clock().await;
    let (records, row) = (rig.records(), rig.row(&template));
    other
        .run(&format!(
            "CREATE TEMPORARY TABLE copy AS SELECT * FROM {records} WHERE {row}; \
             UPDATE copy SET key = '{}'; \
             BEGIN; INSERT INTO {records} OVERRIDING USER VALUE SELECT * FROM copy",
            address.key.as_str()
        ))
        .await;
    (other, clock)
}

/// A claim that loses to another's insert looks again, and is answered by what is there: alone, or in company.
pub(crate) async fn an_insert_that_was_lost_looks_again(rig: &Rig, how: &str) {
    for state in ["free", "claimed"] {
        let address = rig.execution(&ClaimId::random().to_string());
        let neighbour = rig.execution(&ClaimId::random().to_string());
        let (mut other, _) = insert(rig, &address, state).await;
        let asked = tokio::spawn({
            let (rig, how, address) = (rig.clone(), how.to_owned(), address.clone());
            async move {
                match how.as_str() {
                    IN_COMPANY => tokio::join!(rig.ask(&address, fused()), rig.ask(&neighbour, fused())).0,
                    _ => rig.ask(&address, fused()).await,
                }
            }
        });
        rig.waits(&mut other, 1).await;
        if how == "at last" {
            // Until it has been put off, and waits on a connection where it may wait for longer.
            let waiting = rig
                .connections("wait_event_type = 'Lock'")
                .replace("count(*)", "coalesce(max(pid), 0)::int8");
            let first = other.number(&waiting).await;
            other.until(&waiting, |pid| pid != 0 && pid != first).await;
        }
        other.run("COMMIT").await;
        let answer = asked.await.unwrap();
        match (state, &answer.reply) {
            ("free", Reply::Claim(ClaimReply::Granted(_))) => assert!(answer.stamp.changed),
            ("claimed", Reply::Claim(ClaimReply::InProgress { remaining, .. })) => {
                assert!(*remaining > Duration::ZERO, "it was seen");
            }
            _ => panic!("after a {state} row was inserted: {answer:?}"),
        }
    }
}

async fn rig() -> Rig {
    rig_in("locks").await
}

async fn rig_in(schema: &str) -> Rig {
    let patience = Duration::from_secs(60);
    Rig::open(schema, |builder| builder.lock_timeout(patience).deadline(patience)).await
}

macro_rules! of_each_operation {
    ($($check:ident,)*) => {$(
        mod $check {
            #[test]
            fn holds() {
                super::runtime().block_on(async {
                    let rig = super::rig().await;
                    for operation in super::OPERATIONS {
                        super::$check(&rig, operation).await;
                    }
                });
            }
        }
    )*};
}

of_each_operation! {
    the_reading_follows_the_wait,
    the_record_is_judged_as_it_was_left,
    a_row_that_began_a_new_life_meanwhile_is_found,
    a_clock_that_was_set_back_is_lifted,
}

#[test]
fn a_clock_that_was_set_back_is_lifted_in_company() {
    runtime().block_on(async {
        let rig = rig().await;
        for operation in ["begin in company", "release in company", "complete in company"] {
            a_clock_that_was_set_back_is_lifted(&rig, operation).await;
        }
    });
}

#[test]
fn grants_and_decisions_are_told_apart() {
    runtime().block_on(async {
        let rig = rig().await;
        a_decision_is_taken_once(&rig, "").await;
        for operation in OPERATIONS.into_iter().chain(["begin in company", "complete in company"]) {
            a_grant_counts_at_its_address(&rig, operation).await;
        }
    });
}

#[test]
fn tokens_are_drawn_under_the_lock_and_above_the_row() {
    runtime().block_on(async {
        let rig = rig().await;
        a_token_is_drawn_under_the_lock(&rig, "").await;
        for operation in ["claim", "reconcile", "evict", "reset_to_claimed"] {
            a_token_is_drawn_above_the_rows(&rig, operation).await;
        }
    });
}

#[test]
fn nothing_is_taken_over_that_was_not_lapsed_when_it_was_locked() {
    runtime().block_on(async {
        let rig = rig().await;
        for into in ["executing", "completed", "completed for long"] {
            what_changed_meanwhile_is_not_taken_over(&rig, into).await;
        }
    });
}

#[test]
fn inserts_wait_for_the_table() {
    runtime().block_on(async {
        // Nobody else's tables.
        let rig = rig_in("locked").await;
        an_insert_is_read_when_it_begins(&rig, "alone").await;
        an_insert_is_read_when_it_begins(&rig, IN_COMPANY).await;
    });
}

#[test]
fn an_inserter_that_rolled_back_is_outlived() {
    runtime().block_on(async { an_insert_past_one_that_was_rolled_back(&rig().await).await });
}

#[test]
fn a_lost_insert_looks_again() {
    runtime().block_on(async {
        an_insert_that_was_lost_looks_again(&rig().await, "alone").await;
        an_insert_that_was_lost_looks_again(&rig().await, IN_COMPANY).await;
        an_insert_that_was_lost_looks_again(&rig().await, "at last").await;
        a_cancel_that_lost_its_insert_looks_again(&rig().await, "").await;
    });
}
