//! Transactions of others that hold a row: what waits for them reads clock and record afterwards.
//!
//! Each check takes a store, so that the list of mutants can hand it one that is broken.

use std::time::Duration;

use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::{Address, ClaimId, Grant, OpId, Token};

use crate::harness::{Fixture, Stranger, call, fused, label, result, runtime};

/// Beside a request of another key, and so in a statement for many.
const IN_A_BATCH: &str = "in a batch";

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
async fn prepared(fixture: &Fixture, operation: &str) -> (Address, Op) {
    let key = ClaimId::random().to_string();
    let address =
        if operation == "heartbeat of a lease" { fixture.lease(&key) } else { fixture.execution(&key) };
    let begun =
        ["complete", "abandon", "reconcile", "force_complete", "reset_to_claimed"].contains(&operation);
    let grant = fixture.granted(&address, &if begun { fused() } else { call() }).await;
    let op = match operation {
        "claim" => {
            fixture.ask(&address, Release { grant, vouched: false }).await;
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
        _ => settling(fixture, &address, grant, operation).await,
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

async fn settling(fixture: &Fixture, address: &Address, grant: Grant, operation: &str) -> Op {
    let taken = fixture.ask(address, taking(grant.token)).await;
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
        other => panic!("no prepared for {other}"),
    }
}

/// Sends an operation on a row that is held, and lets go of the row once the operation waits for it. Answers with the
/// server's clock before that.
async fn across(fixture: &Fixture, mut holder: Stranger, address: &Address, op: Op) -> (Stamped<Reply>, u64) {
    let mut asked = tokio::spawn({
        let (fixture, address) = (fixture.clone(), address.clone());
        async move { fixture.ask(&address, op).await }
    });
    tokio::select! {
        () = fixture.waits(&mut holder, 1) => {}
        answer = &mut asked => panic!("answered while the row was held: {answer:?}"),
    }
    let clock = holder.clock().await;
    holder.run("COMMIT").await;
    (asked.await.unwrap(), clock)
}

/// The reading is taken when the row is locked, not while it is waited for: also where the row was only locked.
pub(crate) async fn the_reading_follows_the_wait(fixture: &Fixture, operation: &str) {
    for change in [None, Some("key = key")] {
        let (address, op) = prepared(fixture, operation).await;
        let holder = fixture.hold(&address, change).await;
        let (answer, clock) = across(fixture, holder, &address, op).await;
        let now = answer.stamp.now.as_micros();
        assert!(answer.stamp.changed, "{operation} changed nothing: {answer:?}");
        assert!(
            now >= clock,
            "{operation} was judged by {now}, when the row was held until {clock} or later"
        );
        assert_eq!(fixture.record(&address).await.last_now.as_micros(), now);
    }
}

/// The record is judged as the holder left it, not as it was when the operation came.
pub(crate) async fn the_record_is_checked_as_it_was_left(fixture: &Fixture, operation: &str) {
    let (address, op) = prepared(fixture, operation).await;
    let change = match &op {
        Op::Claim(claim) => format!("past_claims = ARRAY['{}'::uuid]", claim.claim_id),
        _ => "token = token + 10, claim_id = gen_random_uuid()".into(),
    };
    let holder = fixture.hold(&address, Some(&change)).await;
    let (answer, _) = across(fixture, holder, &address, op).await;
    assert!(!answer.stamp.changed, "{operation} was judged by what was no longer so: {answer:?}");
}

/// A row is found whatever life it has by the time it is locked: a purge that is waited for begins a new one.
pub(crate) async fn a_row_that_began_a_new_life_meanwhile_is_found(fixture: &Fixture, operation: &str) {
    let (address, op) = prepared(fixture, operation).await;
    let holder = fixture.hold(&address, Some("life = life + 1")).await;
    let (answer, _) = across(fixture, holder, &address, op).await;
    assert!(answer.stamp.changed, "{operation} did not find the row: {answer:?}");
}

/// A token is drawn above the one that the row has when it is locked.
pub(crate) async fn a_token_is_drawn_under_the_lock(fixture: &Fixture, _: &str) {
    let (address, op) = prepared(fixture, "claim").await;
    let holder = fixture.hold(&address, Some(&format!("token = {RAISED}"))).await;
    let (answer, _) = across(fixture, holder, &address, op).await;
    assert_eq!(answer.stamp.token.get(), RAISED + 1);
}

/// A token that a record may have got from a clock that ran ahead: by a century.
const RAISED: u64 = 1 << 52;

/// A row whose token is ahead of the clock draws the next one above it.
pub(crate) async fn a_token_is_drawn_above_the_rows(fixture: &Fixture, operation: &str) {
    let (address, mut op) = prepared(fixture, operation).await;
    let (records, row) = (fixture.records(), fixture.row(&address));
    fixture.stranger().await.run(&format!("UPDATE {records} SET token = {RAISED} WHERE {row}")).await;
    match &mut op {
        Op::Claim(_) => {}
        Op::Reconcile(op) => op.expect = Token::from_stored(RAISED),
        Op::Evict(op) => op.expect = Token::from_stored(RAISED),
        Op::ResetToClaimed(op) => op.token = Token::from_stored(RAISED),
        other => panic!("{other:?} draws no token"),
    }
    let answer = fixture.ask(&address, op).await;
    assert_eq!((answer.stamp.changed, answer.stamp.token.get()), (true, RAISED + 1), "{answer:?}");
}

/// A claim that was lapsed when it was read, and has changed once it is locked, gets the reply for its new state.
pub(crate) async fn what_changed_meanwhile_is_not_taken_over(fixture: &Fixture, into: &str) {
    let address = fixture.execution(&ClaimId::random().to_string());
    fixture.granted(&address, &call()).await;
    fixture.move_clock(crate::harness::HARD.as_micros() as i64);
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
    let holder = fixture.hold(&address, Some(&change)).await;
    let (answer, _) = across(fixture, holder, &address, fused().into()).await;
    fixture.move_clock(-(crate::harness::HARD.as_micros() as i64));
    match (into, &answer.reply) {
        ("executing", Reply::Claim(ClaimReply::Uncertain { .. })) => {}
        ("completed" | "completed for long", Reply::Claim(ClaimReply::Completed { .. })) => {}
        _ => panic!("after it became {into}: {answer:?}"),
    }
}

/// A server's clock that was set back is lifted to the record's last reading.
pub(crate) async fn a_reading_is_never_before_the_last_one(fixture: &Fixture, operation: &str) {
    let (operation, how) = match operation.split_once(" in ") {
        Some((operation, how)) => (operation, Some(how)),
        None => (operation, None),
    };
    let (address, op) = prepared(fixture, operation).await;
    let last = fixture.record(&address).await.last_now;
    fixture.move_clock(-60_000_000);
    let answer = match how {
        None => fixture.ask(&address, op).await,
        // In a batch with another.
        Some(_) => {
            let (other, claim) = (fixture.execution(&ClaimId::random().to_string()), call());
            let begin = Begin { grant: Grant { token: Token::NONE, claim_id: claim.claim_id } };
            let elsewhere = fixture.execution("nothing");
            tokio::join!(
                fixture.ask(&address, op),
                fixture.ask(&other, claim),
                fixture.ask(&elsewhere, begin)
            )
            .0
        }
    };
    fixture.move_clock(60_000_000);
    assert!(answer.stamp.now >= last, "{operation} ran backwards: {last}, then {answer:?}");
    let record = fixture.record(&address).await;
    assert!(record.last_now >= last && record.completed_at.is_none_or(|at| at >= last));
}

/// A grant counts at its address, and not at one whose namespace or kind is another, should it stand there too.
pub(crate) async fn a_grant_counts_at_its_address(fixture: &Fixture, operation: &str) {
    let (operation, in_batch) = match operation.split_once(" in ") {
        Some((operation, _)) => (operation, true),
        None => (operation, false),
    };
    let (later, operation) = match operation.strip_prefix("later ") {
        Some(operation) => (true, operation),
        None => (false, operation),
    };
    let (address, op) = prepared(fixture, operation).await;
    let (records, row) = (fixture.records(), fixture.row(&address));
    let mut stranger = fixture.stranger().await;
    if later {
        // As after a first run: what comes next is stored as an event.
        stranger.run(&format!("UPDATE {records} SET implied = 0 WHERE {row}")).await;
    }
    for (n, change) in [
        "namespace = 'twin-' || namespace",
        "kind = CASE kind WHEN 'lease' THEN 'execution' ELSE 'lease' END",
    ]
    .map(|change| change.replace("'lease'", &format!("'lease'::\"{}\".\"kind\"", fixture.schema)))
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
    let answer = match in_batch {
        false => fixture.ask(&address, op).await,
        true => {
            let begin = Begin { grant: Grant { token: Token::NONE, claim_id: ClaimId::random() } };
            let (claimed, nothing) =
                (fixture.execution(&ClaimId::random().to_string()), fixture.execution("nothing"));
            tokio::join!(
                fixture.ask(&address, op),
                fixture.ask(&claimed, call()),
                fixture.ask(&nothing, begin)
            )
            .0
        }
    };
    assert!(answer.stamp.changed);
    assert_eq!(stranger.number(&changed).await, before, "{operation} changed what is only similar");
}

/// A decision that was made is final: under the same id it is not made again, even with other contents.
pub(crate) async fn a_decision_is_taken_once(fixture: &Fixture, _: &str) {
    let address = fixture.execution(&ClaimId::random().to_string());
    let grant = fixture.granted(&address, &fused()).await;
    let taking = taking(grant.token);
    let first = fixture.ask(&address, taking.clone()).await;
    let again = Reconcile { expect: first.stamp.token, steal: true, ..taking };
    let second = fixture.ask(&address, again).await;
    assert_eq!((second.stamp.changed, second.stamp.token), (false, first.stamp.token), "{second:?}");
}

/// An insert that waits for the whole table reads the clock when it is let in.
pub(crate) async fn an_insert_is_read_when_it_begins(fixture: &Fixture, how: &str) {
    for _ in 0..5 {
        let mut holder = fixture.stranger().await;
        holder.run(&format!("BEGIN; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", fixture.records())).await;
        let addresses = [(); 2].map(|()| fixture.execution(&ClaimId::random().to_string()));
        let asked = tokio::spawn({
            let (fixture, how, [one, two]) = (fixture.clone(), how.to_owned(), addresses.clone());
            async move {
                match how.as_str() {
                    IN_A_BATCH => tokio::join!(fixture.ask(&one, fused()), fixture.ask(&two, fused())).0,
                    _ => fixture.ask(&one, fused()).await,
                }
            }
        });
        fixture.waits(&mut holder, 1).await;
        let clock = holder.clock().await;
        holder.run("COMMIT").await;
        let now = asked.await.unwrap().stamp.now.as_micros();
        assert!(now >= clock, "granted at {now}, when the table was held until {clock} or later");
    }
}

/// A cancel that loses to another's insert reads again, and finds the row.
pub(crate) async fn a_cancel_that_lost_its_insert_reads_again(fixture: &Fixture, _: &str) {
    let address = fixture.execution(&ClaimId::random().to_string());
    let (other, _) = insert(fixture, &address, "claimed").await;
    let (answer, _) = across(fixture, other, &address, Cancel { claim_id: ClaimId::random() }.into()).await;
    assert!(matches!(answer.reply, Reply::Cancel(CancelReply::Untouched(_))), "{answer:?}");
}

/// An insert that waits for another's insert and outlives it grants nothing longer than was asked for, counted from
/// before the wait.
pub(crate) async fn an_insert_past_one_that_was_rolled_back(fixture: &Fixture) {
    let address = fixture.execution(&ClaimId::random().to_string());
    let (mut other, before) = insert(fixture, &address, "free").await;
    let asked = tokio::spawn({
        let (fixture, address) = (fixture.clone(), address.clone());
        async move { fixture.ask(&address, fused()).await }
    });
    fixture.waits(&mut other, 1).await;
    let clock = other.clock().await;
    other.run("ROLLBACK").await;
    let answer = asked.await.unwrap();
    let Reply::Claim(ClaimReply::Granted(granted)) = answer.reply else { panic!("{answer:?}") };
    assert!(granted.token.get() > before && granted.token.get() > answer.stamp.now.as_micros());
    assert_eq!(granted.lease_until, answer.stamp.now.plus(crate::harness::TTL));
    assert!(
        answer.stamp.now.as_micros() <= clock || fixture.record(&address).await.last_now == answer.stamp.now
    );
    assert_eq!((answer.stamp.rev, answer.stamp.changed), (1, true));
}

/// A row that another transaction is about to insert, and the clock before that.
pub(crate) async fn insert(fixture: &Fixture, address: &Address, state: &str) -> (Stranger, u64) {
    let template = fixture.execution(&ClaimId::random().to_string());
    let grant = fixture.granted(&template, &call()).await;
    if state == "free" {
        fixture.ask(&template, Release { grant, vouched: false }).await;
    }
    let mut other = fixture.stranger().await;
    let clock = other.clock().await;
    let (records, row) = (fixture.records(), fixture.row(&template));
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

/// A claim that loses to another's insert reads again, and gets the reply for what is there: alone, or in a batch.
pub(crate) async fn an_insert_that_was_lost_reads_again(fixture: &Fixture, how: &str) {
    for state in ["free", "claimed"] {
        let address = fixture.execution(&ClaimId::random().to_string());
        let neighbour = fixture.execution(&ClaimId::random().to_string());
        let (mut other, _) = insert(fixture, &address, state).await;
        let asked = tokio::spawn({
            let (fixture, how, address) = (fixture.clone(), how.to_owned(), address.clone());
            async move {
                match how.as_str() {
                    IN_A_BATCH => {
                        tokio::join!(fixture.ask(&address, fused()), fixture.ask(&neighbour, fused())).0
                    }
                    _ => fixture.ask(&address, fused()).await,
                }
            }
        });
        fixture.waits(&mut other, 1).await;
        if how == "at last" {
            // Until it has been put off, and waits on a connection where it may wait for longer.
            let waiting = fixture
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

async fn fixture() -> Fixture {
    fixture_in("locks").await
}

async fn fixture_in(schema: &str) -> Fixture {
    let limit = Duration::from_secs(60);
    Fixture::open(schema, |builder| builder.lock_timeout(limit).deadline(limit)).await
}

macro_rules! of_each_operation {
    ($($check:ident,)*) => {$(
        mod $check {
            #[test]
            fn holds() {
                super::runtime().block_on(async {
                    let fixture = super::fixture().await;
                    for operation in super::OPERATIONS {
                        super::$check(&fixture, operation).await;
                    }
                });
            }
        }
    )*};
}

of_each_operation! {
    the_reading_follows_the_wait,
    the_record_is_checked_as_it_was_left,
    a_row_that_began_a_new_life_meanwhile_is_found,
    a_reading_is_never_before_the_last_one,
}

#[test]
fn a_clock_that_was_set_back_is_lifted_in_a_batch() {
    runtime().block_on(async {
        let fixture = fixture().await;
        for operation in ["begin in a batch", "release in a batch", "complete in a batch"] {
            a_reading_is_never_before_the_last_one(&fixture, operation).await;
        }
    });
}

#[test]
fn grants_and_decisions_are_distinguished() {
    runtime().block_on(async {
        let fixture = fixture().await;
        a_decision_is_taken_once(&fixture, "").await;
        for operation in OPERATIONS.into_iter().chain(["begin in a batch", "complete in a batch"]) {
            a_grant_counts_at_its_address(&fixture, operation).await;
        }
    });
}

#[test]
fn tokens_are_drawn_under_the_lock_and_above_the_row() {
    runtime().block_on(async {
        let fixture = fixture().await;
        a_token_is_drawn_under_the_lock(&fixture, "").await;
        for operation in ["claim", "reconcile", "evict", "reset_to_claimed"] {
            a_token_is_drawn_above_the_rows(&fixture, operation).await;
        }
    });
}

#[test]
fn a_row_that_was_not_lapsed_when_it_was_locked_is_not_taken_over() {
    runtime().block_on(async {
        let fixture = fixture().await;
        for into in ["executing", "completed", "completed for long"] {
            what_changed_meanwhile_is_not_taken_over(&fixture, into).await;
        }
    });
}

#[test]
fn inserts_wait_for_the_table() {
    runtime().block_on(async {
        // Tables of other stores are not locked.
        let fixture = fixture_in("locked").await;
        an_insert_is_read_when_it_begins(&fixture, "alone").await;
        an_insert_is_read_when_it_begins(&fixture, IN_A_BATCH).await;
    });
}

#[test]
fn a_claim_outlasts_an_insert_that_was_rolled_back() {
    runtime().block_on(async { an_insert_past_one_that_was_rolled_back(&fixture().await).await });
}

#[test]
fn a_lost_insert_reads_again() {
    runtime().block_on(async {
        an_insert_that_was_lost_reads_again(&fixture().await, "alone").await;
        an_insert_that_was_lost_reads_again(&fixture().await, IN_A_BATCH).await;
        an_insert_that_was_lost_reads_again(&fixture().await, "at last").await;
        a_cancel_that_lost_its_insert_reads_again(&fixture().await, "").await;
    });
}
