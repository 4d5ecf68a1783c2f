//! Callers that are dropped: each call of a store, and of the client over it, is dropped at each of its polls.

use std::collections::HashSet;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use sentinel_client::{LeaseOutcome, Outcome, Sentinel};
use sentinel_core::kernel::Op;
use sentinel_core::operation::*;
use sentinel_core::store::Purge;
use sentinel_core::{Record, State};

use super::cells::OPERATIONS;
use super::lost::{first_reply, read, same};
use super::record_under_test::RecordUnderTest;
use super::start_state::{self, StartState};
use super::{RequestsOf, granted};
use crate::coordination::fixtures::*;
use crate::coordination::harness::DynHarness;
use crate::coordination::law_context::{LawContext, Subject};
use crate::sizes::Sizes;

/// A future that is not ready after this number of polls is not polled further.
const POLLS: u32 = 40;
/// Nothing takes longer than this.
const AT_LAST: Duration = Duration::from_secs(60);
/// A request that is not answered by then waits for one whose caller was dropped.
const NEXT: Duration = Duration::from_secs(20);

/// Drops every call at each of its polls: all laws of `matrix::dropped`, on a store whose connections can be checked
/// afterwards.
///
/// # Panics
/// If the store breaks one of them.
pub async fn dropped_at_any_poll(harness: Arc<dyn DynHarness>) {
    let context = LawContext::new(harness, Sizes::DEFAULT);
    a_dropped_operation_takes_effect_once_or_not_at_all(&context.apart()).await;
    a_dropped_request_that_is_refused_changes_nothing(&context.apart()).await;
    a_dropped_purge_deletes_each_record_once_or_not_at_all(&context.apart()).await;
    a_dropped_batch_delays_no_heartbeat(&context.apart()).await;
    a_dropped_call_of_once_runs_to_its_end_or_not_at_all(&context.apart()).await;
    a_dropped_preparation_gives_its_claim_back(&context.apart()).await;
    a_dropped_request_for_a_lease_leaves_the_lease_free(&context.apart()).await;
}

/// Polls a future this number of times, and drops it: its output, if it was ready by then.
pub(crate) async fn polled<F: Future>(times: u32, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|cx| {
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Sent again, it gets the same reply, whether the store had started the first one or not; the record changes once.
#[expect(clippy::print_stdout, reason = "the output of a test, shown on demand")]
pub(crate) async fn a_dropped_operation_takes_effect_once_or_not_at_all(context: &LawContext) {
    let (mut keys, mut sent) = (0.., 0);
    for (operation, requests_of) in OPERATIONS {
        for (start_state, _, indices) in granted(context, requests_of, 1) {
            for polls in 1..POLLS {
                let under_test =
                    RecordUnderTest::at_work(context, keys.next().unwrap_or_default(), start_state).await;
                match dropped(context, &under_test, requests_of, indices[0], polls).await {
                    Ok(was_ready) if was_ready => break,
                    Ok(_) => sent += 1,
                    Err(broken) => {
                        panic!("{}, {operation}, dropped at poll {polls}: {broken}", start_state.words)
                    }
                }
            }
        }
    }
    println!("matrix: {sent} requests were dropped");
}

/// Whether it was ready before it was dropped.
async fn dropped(
    context: &LawContext,
    under_test: &RecordUnderTest<'_>,
    requests_of: RequestsOf,
    index: usize,
    polls: u32,
) -> Result<bool, String> {
    let op = requests_of(under_test).swap_remove(index).op;
    let (address, before) = (under_test.address(), under_test.record().clone());
    let events_before = read(context, address).await?.1;
    let was_ready = polled(polls, op.send(&**context.store(), address)).await.is_some();
    let again = in_time(op.send(&**context.store(), address)).await?;
    let again = again.map_err(|error| format!("sent again: {error}"))?;
    let (record, events) = read(context, address).await?;
    if matches!(op, Op::Heartbeat(_)) {
        same("events", &events_before.len(), &events.len())?;
        return Ok(was_ready);
    }
    same("changes of the record", &(before.rev + 1), &record.rev)?;
    same("events", &(events_before.len() + 1), &events.len())?;
    same("reply", &first_reply(address, before, &record, &op)?, &again.reply)?;
    Ok(was_ready)
}

/// The reply to a request after another one was dropped; an error if it waits for the dropped one.
async fn in_time<F: Future>(request: F) -> Result<F::Output, String> {
    let reply = tokio::time::timeout(NEXT, request).await;
    reply.map_err(|_| format!("the next request was not answered within {NEXT:?}"))
}

/// From every state, a request that is refused and whose caller is dropped has changed nothing, and delays no other
/// request.
pub(crate) async fn a_dropped_request_that_is_refused_changes_nothing(context: &LawContext) {
    let mut keys = 0..;
    for (operation, requests_of) in OPERATIONS {
        for (start_state, index) in refused(context, requests_of) {
            for polls in 1..POLLS {
                let mut under_test =
                    RecordUnderTest::at_work(context, keys.next().unwrap_or_default(), start_state).await;
                let op = requests_of(&under_test).swap_remove(index).op;
                let was_ready =
                    polled(polls, op.send(&**context.store(), under_test.address())).await.is_some();
                let checked = match in_time(under_test.request(&op)).await {
                    Ok(Ok(_)) => under_test.check_stored().await,
                    Ok(Err(broken)) | Err(broken) => Err(broken),
                };
                if let Err(broken) = checked {
                    panic!("{}, a refused {operation}, dropped at poll {polls}: {broken}", start_state.words);
                }
                if was_ready {
                    break;
                }
            }
        }
    }
}

/// The start states, one for each kind and state, from which an operation is refused, and the index of a refused
/// request.
fn refused(context: &LawContext, requests_of: RequestsOf) -> Vec<(&'static StartState, usize)> {
    let mut seen = HashSet::new();
    let index = |start_state: &'static StartState| {
        let under_test = RecordUnderTest::imagined(context, start_state);
        let index = requests_of(&under_test).iter().position(|request| {
            request.op.admit(start_state.kind).is_ok() && !under_test.clone().imagine(&request.op)
        })?;
        seen.insert((start_state.kind, under_test.record().state)).then_some((start_state, index))
    };
    start_state::ALL.iter().filter_map(index).collect()
}

/// Each record is purged completely or not at all, the next purge deletes the others, and no token falls.
pub(crate) async fn a_dropped_purge_deletes_each_record_once_or_not_at_all(context: &LawContext) {
    for polls in 1..POLLS {
        let context = context.apart();
        let (run, lease) = (context.execution("run"), context.lease("lease"));
        let done = run.completed(&Claim { retention: Some(TTL), ..call("ann") }, &result("x")).await;
        let grant = lease.granted(&call("ann")).await;
        lease.release(grant).await;
        context.advance(REST).await;
        let changes_before = [run.changes().await, lease.changes().await];
        let purge = Purge { namespace: context.namespace().clone(), limit: 10, dry_run: false };
        let was_ready = polled(polls, context.store().purge(&purge)).await.is_some();
        context.forget();
        for (key, before) in [&run, &lease].into_iter().zip(changes_before) {
            let (absent, changes) = (key.record().await.is_absent(), key.changes().await);
            // What was dropped may still be carried out between the two reads.
            let whole = if absent || key.record().await.is_absent() {
                changes == ["purged"]
            } else {
                changes == before
            };
            let later = key.record().await.is_absent() && key.changes().await == ["purged"];
            assert!(whole || later, "{} after a purge was dropped at poll {polls}: {changes:?}", key.address);
        }
        let again = in_time(context.store().purge(&purge)).await.expect("a purge is not held up");
        again.expect("the store purges");
        context.set_back(REST).await;
        for (key, old) in [(&run, done), (&lease, grant)] {
            assert_eq!(key.changes().await, ["purged"], "{} after a second purge", key.address);
            let next = key.granted(&call("bob")).await;
            assert!(next.token > old.token, "a token fell after a purge that was dropped at poll {polls}");
        }
        context.advance(REST).await;
        if was_ready {
            return;
        }
    }
}

/// A batch of heartbeats that is dropped keeps no record from its next heartbeat.
pub(crate) async fn a_dropped_batch_delays_no_heartbeat(context: &LawContext) {
    for polls in 1..POLLS {
        let context = context.apart();
        let mut beats = Vec::new();
        for key in [context.execution("run"), context.lease("lease"), context.execution("other")] {
            let grant = key.granted(&call("ann")).await;
            beats.push(Beat { address: key.address.clone(), grant });
        }
        context.advance(HALF).await;
        let was_ready = polled(polls, context.store().heartbeat(&beats)).await.is_some();
        context.forget();
        let again = in_time(context.store().heartbeat(&beats)).await.expect("a batch is not held up");
        for (beat, reply) in beats.iter().zip(again.expect("a reply")) {
            let kept = matches!(reply.reply, HeartbeatReply::Kept { lease_until }
                if lease_until.since(reply.stamp.now) > HALF && lease_until <= reply.stamp.now.plus(TTL));
            let unchecked = reply.reply == HeartbeatReply::Unknown;
            assert!(
                kept || unchecked,
                "{} after a batch was dropped at poll {polls}: {reply:?}",
                beat.address
            );
        }
        if was_ready {
            return;
        }
    }
}

/// Waits until a record has the required state.
async fn until(subject: &Subject<'_>, what: &str, holds: impl Fn(&Record) -> bool) -> Record {
    let waiting = async {
        loop {
            let record = subject.record().await;
            if holds(&record) {
                return record;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    match tokio::time::timeout(AT_LAST, waiting).await {
        Ok(record) => record,
        Err(_) => panic!("{what}, and never was: {:?}", subject.record().await),
    }
}

fn client(context: &LawContext) -> Sentinel {
    let sentinel = Sentinel::from_arc(context.store().clone()).namespace(context.namespace());
    sentinel.expect("the context's namespace is one")
}

/// A function that counts its runs and yields a few times.
async fn counted(runs: Arc<AtomicU32>) -> Result<u32, std::convert::Infallible> {
    runs.fetch_add(1, Ordering::SeqCst);
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    Ok(7)
}

/// Waits until the record is free or completed; its function ran once if it is completed, and never if it is free.
async fn runs_at_the_end(subject: &Subject<'_>, runs: &AtomicU32, polls: u32) -> u32 {
    let record = until(subject, "it should be free or completed", |record| {
        matches!(record.state, State::Free | State::Completed) && !record.is_absent()
    })
    .await;
    let ran = u32::from(record.state == State::Completed);
    assert_eq!(runs.load(Ordering::SeqCst), ran, "dropped at poll {polls}: {record:?}");
    ran
}

/// A function that was started runs to its end, and its result is recorded; one that was not started never starts. In
/// both cases the next call succeeds, and the function ran once.
pub(crate) async fn a_dropped_call_of_once_runs_to_its_end_or_not_at_all(context: &LawContext) {
    let sentinel = client(context);
    for polls in 1..POLLS {
        let (key, runs) = (format!("dropped at poll {polls}"), Arc::new(AtomicU32::new(0)));
        let subject = context.execution(&key);
        let once = || {
            let runs = runs.clone();
            sentinel.once(&key).ttl(TTL).hard_ttl(HARD).run(move |_| counted(runs))
        };
        let was_ready = polled(polls, once()).await.is_some();
        let ran = runs_at_the_end(&subject, &runs, polls).await;
        let outcome = once().await.expect("a good call");
        let served = match ran {
            1 => matches!(outcome, Outcome::Replayed(7)),
            _ => matches!(outcome, Outcome::Completed(7)),
        };
        assert!(served, "dropped at poll {polls}: {outcome:?}");
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        subject.assert_rebuilt().await;
        if was_ready {
            return;
        }
    }
}

/// If the call is dropped before the function started, its claim is given back, and nothing ran.
pub(crate) async fn a_dropped_preparation_gives_its_claim_back(context: &LawContext) {
    let sentinel = client(context);
    for polls in 1..POLLS {
        let (key, runs) = (format!("dropped at poll {polls}"), Arc::new(AtomicU32::new(0)));
        let subject = context.execution(&key);
        let once = || {
            let runs = runs.clone();
            let once = sentinel.once(&key).ttl(TTL).hard_ttl(HARD);
            let prepared = once.prepare(|_| async {
                tokio::task::yield_now().await;
                Ok(())
            });
            prepared.run(move |_, ()| counted(runs))
        };
        let was_ready = polled(polls, once()).await.is_some();
        runs_at_the_end(&subject, &runs, polls).await;
        let outcome = once().await.expect("a good call");
        assert!(matches!(outcome, Outcome::Replayed(7) | Outcome::Completed(7)), "{outcome:?}");
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        if was_ready {
            return;
        }
    }
}

/// A lease whose request was dropped before its grant arrived is free.
pub(crate) async fn a_dropped_request_for_a_lease_leaves_the_lease_free(context: &LawContext) {
    let sentinel = client(context);
    for polls in 1..POLLS {
        let key = format!("dropped at poll {polls}");
        let subject = context.lease(&key);
        let acquire = || sentinel.lease(&key).ttl(TTL).hard_ttl(HARD).acquire();
        // What was acquired is dropped, too, and released by that.
        let was_ready = polled(polls, acquire()).await.is_some();
        until(&subject, "it should be free", |record| record.state == State::Free && !record.is_absent())
            .await;
        let again = acquire().await.expect("a good call");
        assert!(matches!(again, LeaseOutcome::Held(_)), "dropped at poll {polls}: {again:?}");
        if was_ready {
            return;
        }
    }
}
