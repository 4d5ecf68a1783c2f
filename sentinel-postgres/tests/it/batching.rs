//! What can happen to what shares a statement and a connection.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::join_all;
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::{
    Address, Applied, ClaimId, CoordinationStore as _, ErrorKind, Fingerprint, OpId, State, StoreError,
};
use sentinel_testbed::{PgBouncer, Postgres, Proxy, postgres};

use crate::deployments::bouncer;
use crate::harness::{Fixture, call, fused, label, result, runtime};

fn fresh(fixture: &Fixture) -> Address {
    fixture.execution(&ClaimId::random().to_string())
}

/// Claims addresses at once, each in its own call.
async fn claim_all(
    fixture: &Fixture,
    addresses: &[Address],
    claims: &[Claim],
) -> Vec<Result<Stamped<ClaimReply>, StoreError>> {
    join_all(addresses.iter().zip(claims).map(|(address, claim)| fixture.store.claim(address, claim))).await
}

async fn complete_all(
    fixture: &Fixture,
    addresses: &[Address],
    completions: &[Complete],
) -> Vec<Result<Stamped<CompleteReply>, StoreError>> {
    join_all(addresses.iter().zip(completions).map(|(address, op)| fixture.store.complete(address, op))).await
}

/// A life of many records: claimed, kept, completed and replayed, each time many at once.
async fn lives(fixture: &Fixture, rounds: usize) {
    for _ in 0..rounds {
        let addresses: Vec<_> = (0..16).map(|_| fresh(fixture)).collect();
        let claims: Vec<_> = addresses.iter().map(|_| fused()).collect();
        let mut completions = Vec::new();
        let mut beats = Vec::new();
        for ((reply, claim), address) in
            claim_all(fixture, &addresses, &claims).await.into_iter().zip(&claims).zip(&addresses)
        {
            let ClaimReply::Granted(granted) = reply.unwrap().reply else { panic!("not granted") };
            let grant = sentinel_core::Grant { token: granted.token, claim_id: claim.claim_id };
            beats.push(Beat { address: address.clone(), grant });
            completions.push(Complete { grant, result: result("done") });
        }
        fixture.store.heartbeat(&beats).await.unwrap();
        assert!(complete_all(fixture, &addresses, &completions).await.iter().all(Result::is_ok));
        let again: Vec<_> = addresses.iter().map(|_| fused()).collect();
        for reply in claim_all(fixture, &addresses, &again).await {
            assert!(matches!(reply.unwrap().reply, ClaimReply::Completed { .. }));
        }
        let lone = fixture.granted(&fresh(fixture), &fused()).await;
        assert!(lone.token.get() > 0);
    }
}

/// Plans that were made while the tables were empty are as good when they are not: by index, always.
fn no_table_is_scanned(way: &str, schema: &str, end: impl FnOnce()) {
    let scans = format!(
        "SELECT coalesce(sum(seq_scan), 0)::int8 FROM pg_stat_user_tables WHERE schemaname = '{schema}' \
         AND relname IN ('records', 'events', 'floors')"
    );
    let first_runtime = runtime();
    let fixture = runtime().block_on(async {
        let fixture = Fixture::open(schema, |builder| builder).await;
        // The connection that it was opened with belongs to a batcher from now on, and ends with it.
        lives(&fixture, 1).await;
        fixture
    });
    // What a session did is counted at its end at the latest: those that made indices have ended, this one too.
    let tables = format!("\"{schema}\".records, \"{schema}\".events");
    let ended = async || fixture.stranger().await.until(&fixture.connections("true"), |open| open == 0).await;
    runtime().block_on(ended());
    postgres().psql(&format!("{}; TRUNCATE {tables}; ANALYZE {tables}", fixture.joining()));
    runtime().block_on(ended());
    let before: i64 = postgres().psql(&scans).parse().unwrap();
    let fixture = first_runtime.block_on(async {
        let fixture = Fixture::open_through(way, &postgres().url(), schema, |builder| builder).await;
        lives(&fixture, 20).await;
        fixture
    });
    drop(first_runtime);
    end();
    runtime().block_on(async {
        let mut stranger = fixture.stranger().await;
        stranger.until(&fixture.connections("true"), |open| open == 0).await;
        let found = format!(
            "SELECT sum(idx_scan)::int8 FROM pg_stat_user_tables \
             WHERE schemaname = '{schema}' AND relname = 'records'"
        );
        stranger.until(&found, |found| found >= 20 * 16).await;
        assert_eq!(stranger.number(&scans).await, before, "a table was scanned");
    });
}

#[test]
fn no_table_is_scanned_directly() {
    no_table_is_scanned(&postgres().url(), "planned", || {});
}

#[test]
fn no_table_is_scanned_behind_a_pooler() {
    let own = PgBouncer::start(postgres(), Default::default());
    no_table_is_scanned(&own.url(), "planned_behind", || own.stop());
}

/// Every state that answers a claim without a change.
async fn answered(fixture: &Fixture) -> Vec<(Address, Claim)> {
    let [done, live, doubt, held, other] =
        [fresh(fixture), fresh(fixture), fresh(fixture), fresh(fixture), fresh(fixture)];
    let grant = fixture.granted(&done, &fused()).await;
    fixture.ask(&done, Complete { grant, result: result("done") }).await;
    fixture.granted(&live, &fused()).await;
    for address in [&doubt, &held] {
        let grant = fixture.granted(address, &fused()).await;
        fixture
            .ask(
                address,
                Abandon { grant, cause: label("no contact"), late_effects: std::time::Duration::ZERO },
            )
            .await;
        if address == &held {
            let (op_id, operator, expect) = (OpId::random(), label("olga"), grant.token);
            let taking =
                Reconcile { op_id, operator, reason: None, expect, even_if_alive: false, steal: false };
            fixture.ask(address, taking).await;
        }
    }
    let about = |request| Some(Fingerprint::new(request).unwrap());
    fixture.granted(&other, &Claim { fingerprint: about("one"), ..fused() }).await;
    let another = Claim { fingerprint: about("another"), ..fused() };
    let lease = fixture.lease("held");
    fixture.granted(&lease, &call()).await;
    vec![
        (done, fused()),
        (live, fused()),
        (doubt, fused()),
        (held, fused()),
        (other, another),
        (lease, call()),
    ]
}

/// A claim that changes nothing writes nothing: no log, no transaction number.
#[test]
fn a_replay_writes_nothing() {
    // A server of its own, on which nothing else happens.
    let options = sentinel_testbed::postgres::Options::default();
    let quiet = Postgres::start(
        options.conf("wal_level = minimal").conf("max_wal_senders = 0").conf("autovacuum = off"),
    );
    runtime().block_on(async {
        let fixture = Fixture::open_at(&quiet.url(), "sentinel", |builder| builder).await;
        let asked = answered(&fixture).await;
        let ask = async || {
            for (address, claim) in &asked {
                let reply = fixture.store.claim(address, claim).await.unwrap();
                assert!(!reply.stamp.changed);
            }
            let addresses: Vec<_> =
                asked.iter().cycle().take(64).map(|(address, _)| address.clone()).collect();
            let claims: Vec<_> = asked
                .iter()
                .cycle()
                .take(64)
                .map(|(_, claim)| Claim { claim_id: ClaimId::random(), ..claim.clone() })
                .collect();
            for reply in claim_all(&fixture, &addresses, &claims).await {
                assert!(!reply.unwrap().stamp.changed);
            }
            for (address, _) in &asked {
                fixture.store.inspect(address).await.unwrap();
            }
        };
        // Who first reads a page tidies it up.
        ask().await;
        let mut stranger = fixture.stranger().await;
        let written = "SELECT (pg_current_wal_insert_lsn() - '0/0')::int8";
        let numbers = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8";
        let before = (stranger.number(written).await, stranger.number(numbers).await);
        for _ in 0..10 {
            ask().await;
        }
        assert_eq!((stranger.number(written).await, stranger.number(numbers).await), before);
        // The count is reliable: a write is seen.
        fixture.granted(&fresh(&fixture), &fused()).await;
        assert!(stranger.number(written).await > before.0);
    });
}

/// A claim that the server refuses fails alone, whatever else is in its batch.
#[test]
fn a_poisonous_claim_fails_alone() {
    runtime().block_on(async {
        let poison = |key: &str| format!("/ (CASE WHEN {key} = 'poison' THEN 0 ELSE 1 END)");
        let edit = move |name: &str, text: String| {
            let (piece, key) = match name {
                "insert_complete" => ("c.ttl, c.hard_ttl, c.late_effects", "c.key"),
                "claim_absent" => ("$6, $7, $12, $8::int8", "$4"),
                _ => return text,
            };
            assert!(text.contains(piece), "{name}");
            let (first, rest) = piece.split_once(',').unwrap();
            text.replacen(piece, &format!("{first} {},{rest}", poison(key)), 1)
        };
        let fixture = Fixture::open("poison", |builder| builder.edit_statements(Arc::new(edit))).await;
        let addresses = [fresh(&fixture), fixture.execution("poison"), fresh(&fixture)];
        let claims = [fused(), fused(), fused()];
        let reply = claim_all(&fixture, &addresses, &claims).await;
        let [Ok(first), Err(error), Ok(last)] = reply.as_slice() else { panic!("{reply:?}") };
        assert!(first.stamp.changed && last.stamp.changed);
        assert_eq!(error.applied(), Applied::No);
        assert!(fixture.store.inspect(&addresses[1]).await.unwrap().record.is_none());
    });
}

/// What was out when the connection broke is ambiguous, all of it, applied or not; the same requests sent again are
/// answered by the result of the first.
#[test]
fn a_lost_connection_makes_a_whole_batch_ambiguous() {
    runtime().block_on(async {
        let proxy = Proxy::start(postgres().port());
        let way = postgres().url_at(proxy.port(), "postgres", "testbed", "postgres");
        let fixture = Fixture::open_through(&way, &postgres().url(), "lost", |builder| builder).await;
        // A statement's first use asks the server about it.
        lives(&fixture, 1).await;
        let addresses: Vec<_> = (0..3).map(|_| fresh(&fixture)).collect();
        let claims: Vec<_> = addresses.iter().map(|_| fused()).collect();
        let count = |state: &str| {
            let keys: Vec<_> = addresses.iter().map(|a| format!("'{}'", a.key.as_str())).collect();
            let (records, keys) = (fixture.records(), keys.join(", "));
            format!("SELECT count(*) FROM {records} WHERE state = '{state}' AND key IN ({keys})")
        };
        proxy.replies().swallow();
        let (replies, ()) = tokio::join!(claim_all(&fixture, &addresses, &claims), async {
            fixture.stranger().await.until(&count("executing"), |applied| applied == 3).await;
            proxy.cut();
        });
        assert!(replies.iter().all(in_doubt), "{replies:?}");
        proxy.heal();
        let replies = until_answered(async || claim_all(&fixture, &addresses, &claims).await).await;
        let mut completions = Vec::new();
        for ((reply, claim), address) in replies.into_iter().zip(&claims).zip(&addresses) {
            let ClaimReply::Granted(granted) = reply.reply else { panic!("{reply:?}") };
            assert_eq!((reply.stamp.changed, fixture.record(address).await.token), (false, granted.token));
            let grant = sentinel_core::Grant { token: granted.token, claim_id: claim.claim_id };
            completions.push(Complete { grant, result: result("done") });
        }
        proxy.replies().swallow();
        let (replies, ()) = tokio::join!(complete_all(&fixture, &addresses, &completions), async {
            fixture.stranger().await.until(&count("completed"), |applied| applied == 3).await;
            proxy.cut();
        });
        assert!(replies.iter().all(in_doubt), "{replies:?}");
        proxy.heal();
        for reply in until_answered(async || complete_all(&fixture, &addresses, &completions).await).await {
            assert_eq!((reply.reply, reply.stamp.changed), (CompleteReply::Recorded { late: false }, false));
        }
    });
}

/// Sends again what was not answered: each connection of the store may have to find out that it was cut.
async fn until_answered<T>(send: impl AsyncFn() -> Vec<Result<T, StoreError>>) -> Vec<T> {
    for _ in 0..8 {
        let replies = send().await;
        if !replies.iter().any(in_doubt) {
            return replies.into_iter().map(Result::unwrap).collect();
        }
    }
    panic!("never answered");
}

fn in_doubt<T>(reply: &Result<T, StoreError>) -> bool {
    reply.as_ref().is_err_and(|error| error.applied() == Applied::Ambiguous)
}

/// Polls a future so often, and drops it; whether it came to its end before.
async fn dropped_after<F: Future>(polls: usize, future: F) -> bool {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A caller that goes away, at whichever moment, takes nothing back: the same request sent again finds the record as
/// if the first had been answered, or had never come. No transaction is left open, and every connection is of use.
async fn a_caller_may_be_dropped(fixture: &Fixture) {
    for operation in ["claim", "complete", "begin", "heartbeat", "abandon"] {
        let mut polls = 0;
        loop {
            let address = fresh(fixture);
            let ours = if ["complete", "abandon"].contains(&operation) { fused() } else { call() };
            let op: Op = if operation == "claim" {
                ours.clone().into()
            } else {
                let grant = fixture.granted(&address, &ours).await;
                match operation {
                    "complete" => Complete { grant, result: result("done") }.into(),
                    "begin" => Begin { grant }.into(),
                    "heartbeat" => Heartbeat { grant }.into(),
                    _ => Abandon { grant, cause: label("gone"), late_effects: std::time::Duration::ZERO }
                        .into(),
                }
            };
            let ended = dropped_after(polls, op.send(&fixture.store, &address)).await;
            let again = fixture.ask(&address, op).await;
            let state = fixture.record(&address).await.state;
            match again.reply {
                Reply::Claim(ClaimReply::Granted(granted)) => {
                    assert_eq!(
                        (granted.token, state),
                        (fixture.record(&address).await.token, State::Claimed)
                    );
                }
                Reply::Complete(CompleteReply::Recorded { .. }) => assert_eq!(state, State::Completed),
                Reply::Begin(BeginReply::Begun(_)) => assert_eq!(state, State::Executing),
                Reply::Heartbeat(HeartbeatReply::Kept { .. }) => assert_eq!(state, State::Claimed),
                Reply::Abandon(AbandonReply::Abandoned) => assert_eq!(state, State::Executing),
                reply => panic!("{operation}, dropped after {polls} polls, and asked again: {reply:?}"),
            }
            if ended {
                break;
            }
            polls += 1;
        }
        assert!(polls >= 2, "{operation} was dropped {polls} times");
    }
    let mut stranger = fixture.stranger().await;
    stranger.until(&fixture.connections("state <> 'idle'"), |busy| busy == 0).await;
    assert!(stranger.number(&fixture.connections("true")).await <= 11);
}

#[test]
fn a_caller_may_be_dropped_directly() {
    runtime()
        .block_on(async { a_caller_may_be_dropped(&Fixture::open("gone", |builder| builder).await).await });
}

#[test]
fn a_caller_may_be_dropped_behind_a_pooler() {
    runtime().block_on(async {
        let (way, url) = (bouncer().url(), postgres().url());
        let fixture = Fixture::open_through(&way, &url, "gone_behind", |builder| builder).await;
        a_caller_may_be_dropped(&fixture).await;
    });
}

/// An address, and a claim id, stand once in a statement: what comes twice goes into the next.
#[test]
fn a_repeated_address_goes_into_the_next_batch() {
    runtime().block_on(async {
        let fixture = Fixture::open("twice", |builder| builder).await;
        let (a, b, c) = (fresh(&fixture), fresh(&fixture), fresh(&fixture));
        let (ann, bob) = (fused(), fused());
        let reply =
            claim_all(&fixture, &[a.clone(), a.clone(), b.clone()], &[ann.clone(), bob, fused()]).await;
        assert!(reply[0].as_ref().unwrap().stamp.changed && reply[2].as_ref().unwrap().stamp.changed);
        assert!(matches!(reply[1].as_ref().unwrap().reply, ClaimReply::InProgress { .. }), "{reply:?}");
        let grant = sentinel_core::Grant { token: fixture.record(&a).await.token, claim_id: ann.claim_id };
        let completions = ["one", "another"].map(|text| Complete { grant, result: result(text) });
        let reply = complete_all(&fixture, &[a.clone(), a.clone()], &completions).await;
        assert_eq!(reply[0].as_ref().unwrap().reply, CompleteReply::Recorded { late: false });
        assert_eq!(reply[1].as_ref().unwrap().reply, CompleteReply::Conflict);
        let [one, other] = [c, fresh(&fixture)];
        let shared = fused();
        let reply = claim_all(&fixture, &[one.clone(), other.clone()], &[shared.clone(), shared]).await;
        for (reply, address) in reply.into_iter().zip([&one, &other]) {
            let ClaimReply::Granted(granted) = reply.unwrap().reply else { panic!("not granted") };
            assert_eq!(granted.token, fixture.record(address).await.token);
        }
        assert_eq!(crate::batch_isolation::writers(&fixture, &[&one, &other]).await, 2, "in two statements");
    });
}

/// A batcher lives on the runtime that used it first. When that ends, what it held is ambiguous, and it starts again
/// on the next.
#[test]
fn a_batcher_starts_again_on_another_runtime() {
    let (first, second) = (runtime(), runtime());
    let fixture = first.block_on(async {
        let fixture = Fixture::open("runtimes", |builder| builder).await;
        lives(&fixture, 1).await;
        fixture
    });
    second.block_on(async {
        let (address, claim) = (fresh(&fixture), fused());
        let mut asked = pin!(fixture.store.claim(&address, &claim));
        // The first runtime is not driven, so the request stays where it is.
        assert!(!dropped_after(1, &mut asked).await);
        first.shutdown_background();
        let reply = tokio::time::timeout(Duration::from_secs(60), asked).await.expect("a reply comes");
        assert!(in_doubt(&reply), "{reply:?}");
        assert_eq!(reply.unwrap_err().kind(), ErrorKind::LostReply);
        fixture.granted(&address, &claim).await;
        lives(&fixture, 1).await;
    });
}
