//! Callers that go away: each call of a store, and of the client over it, is dropped at each of its polls.

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
use super::{Asks, granted};
use crate::coordination::fixtures::*;
use crate::coordination::harness::Bench;
use crate::coordination::law_context::{LawContext, Subject};
use crate::sizes::Sizes;

/// A future that is still not ready after so many polls is not looked at further.
const POLLS: u32 = 40;
/// Nothing takes as long as that.
const AT_LAST: Duration = Duration::from_secs(60);
/// A request that is not answered by then waits for one whose caller has gone.
const NEXT: Duration = Duration::from_secs(20);

/// Drops every call at each of its polls: all laws of `matrix::dropped`, on a store whose connections are looked at
/// afterwards.
///
/// # Panics
/// If the store breaks one of them.
pub async fn dropped_at_any_poll(bench: Arc<dyn Bench>) {
    let context = LawContext::new(bench, Sizes::DEFAULT);
    a_dropped_operation_takes_effect_once_or_not_at_all(&context.apart()).await;
    a_dropped_request_that_is_refused_changes_nothing(&context.apart()).await;
    a_dropped_purge_deletes_each_record_once_or_not_at_all(&context.apart()).await;
    a_dropped_batch_delays_no_heartbeat(&context.apart()).await;
    a_dropped_call_of_once_runs_to_its_end_or_not_at_all(&context.apart()).await;
    a_dropped_preparation_gives_its_claim_back(&context.apart()).await;
    a_dropped_request_for_a_lease_leaves_the_lease_free(&context.apart()).await;
}

/// Polls a future so often, and drops it: what it gave, if it was ready by then.
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

/// Sent again, it is answered as the first time, whether the store had begun with it or not; the record changes once.
#[expect(clippy::print_stdout, reason = "the output of a test, shown on demand")]
pub(crate) async fn a_dropped_operation_takes_effect_once_or_not_at_all(context: &LawContext) {
    let (mut keys, mut sent) = (0.., 0);
    for (operation, asks) in OPERATIONS {
        for (start_state, _, ways) in granted(context, asks, 1) {
            for polls in 1..POLLS {
                let stage =
                    RecordUnderTest::at_work(context, keys.next().unwrap_or_default(), start_state).await;
                match dropped(context, &stage, asks, ways[0], polls).await {
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
    stage: &RecordUnderTest<'_>,
    asks: Asks,
    way: usize,
    polls: u32,
) -> Result<bool, String> {
    let op = asks(stage).swap_remove(way).op;
    let (address, before) = (stage.address(), stage.record().clone());
    let told = read(context, address).await?.1;
    let was_ready = polled(polls, op.send(&**context.store(), address)).await.is_some();
    let again = in_time(op.send(&**context.store(), address)).await?;
    let again = again.map_err(|error| format!("sent again: {error}"))?;
    let (record, events) = read(context, address).await?;
    if matches!(op, Op::Heartbeat(_)) {
        same("events", &told.len(), &events.len())?;
        return Ok(was_ready);
    }
    same("changes of the record", &(before.rev + 1), &record.rev)?;
    same("events", &(told.len() + 1), &events.len())?;
    same("reply", &first_reply(address, before, &record, &op)?, &again.reply)?;
    Ok(was_ready)
}

/// What a request is answered after one was dropped; an error if it waits for the dropped one.
async fn in_time<F: Future>(request: F) -> Result<F::Output, String> {
    let answer = tokio::time::timeout(NEXT, request).await;
    answer.map_err(|_| format!("the next request was not answered within {NEXT:?}"))
}

/// From every state, a request that is refused and whose caller goes away has changed nothing, and delays no other
/// request.
pub(crate) async fn a_dropped_request_that_is_refused_changes_nothing(context: &LawContext) {
    let mut keys = 0..;
    for (operation, asks) in OPERATIONS {
        for (start_state, way) in refused(context, asks) {
            for polls in 1..POLLS {
                let mut stage =
                    RecordUnderTest::at_work(context, keys.next().unwrap_or_default(), start_state).await;
                let op = asks(&stage).swap_remove(way).op;
                let was_ready = polled(polls, op.send(&**context.store(), stage.address())).await.is_some();
                let looked = match in_time(stage.ask(&op)).await {
                    Ok(Ok(_)) => stage.look().await,
                    Ok(Err(broken)) | Err(broken) => Err(broken),
                };
                if let Err(broken) = looked {
                    panic!("{}, a refused {operation}, dropped at poll {polls}: {broken}", start_state.words);
                }
                if was_ready {
                    break;
                }
            }
        }
    }
}

/// The start states, one for each kind and state, from which an operation is refused, and a way to ask it so.
fn refused(context: &LawContext, asks: Asks) -> Vec<(&'static StartState, usize)> {
    let mut seen = HashSet::new();
    let way = |start_state: &'static StartState| {
        let stage = RecordUnderTest::imagined(context, start_state);
        let way = asks(&stage)
            .iter()
            .position(|ask| ask.op.admit(start_state.kind).is_ok() && !stage.clone().imagine(&ask.op))?;
        seen.insert((start_state.kind, stage.record().state)).then_some((start_state, way))
    };
    start_state::ALL.iter().filter_map(way).collect()
}

/// Each record is purged whole or not at all, the next purge takes the rest, and no token falls.
pub(crate) async fn a_dropped_purge_deletes_each_record_once_or_not_at_all(context: &LawContext) {
    for polls in 1..POLLS {
        let context = context.apart();
        let (run, lease) = (context.execution("run"), context.lease("lease"));
        let done = run.completed(&Claim { retention: Some(TTL), ..call("ann") }, &result("x")).await;
        let grant = lease.granted(&call("ann")).await;
        lease.release(grant).await;
        context.advance(REST).await;
        let stories = [run.story().await, lease.story().await];
        let purge = Purge { namespace: context.namespace().clone(), limit: 10, dry_run: false };
        let was_ready = polled(polls, context.store().purge(&purge)).await.is_some();
        context.forget();
        for (key, before) in [&run, &lease].into_iter().zip(stories) {
            let (absent, story) = (key.record().await.is_absent(), key.story().await);
            // What was dropped may still be carried out between the two reads.
            let whole =
                if absent || key.record().await.is_absent() { story == ["purged"] } else { story == before };
            let later = key.record().await.is_absent() && key.story().await == ["purged"];
            assert!(whole || later, "{} after a purge was dropped at poll {polls}: {story:?}", key.address);
        }
        let again = in_time(context.store().purge(&purge)).await.expect("a purge is not held up");
        again.expect("the store purges");
        context.set_back(REST).await;
        for (key, old) in [(&run, done), (&lease, grant)] {
            assert_eq!(key.story().await, ["purged"], "{} after a second purge", key.address);
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
        for (beat, answer) in beats.iter().zip(again.expect("an answer")) {
            let kept = matches!(answer.reply, HeartbeatReply::Kept { lease_until }
                if lease_until.since(answer.stamp.now) > HALF && lease_until <= answer.stamp.now.plus(TTL));
            let unlooked = answer.reply == HeartbeatReply::Unknown;
            assert!(
                kept || unlooked,
                "{} after a batch was dropped at poll {polls}: {answer:?}",
                beat.address
            );
        }
        if was_ready {
            return;
        }
    }
}

/// Waits until a record stands as it has to.
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

/// A function that counts its runs and takes a few turns.
async fn counted(runs: Arc<AtomicU32>) -> Result<u32, std::convert::Infallible> {
    runs.fetch_add(1, Ordering::SeqCst);
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    Ok(7)
}

/// A function that was started is not given up, nor its result; one that was not started never starts. Either way
/// whoever asks next is served, and it ran once.
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
        let record = until(&subject, "it should be free or completed", |record| {
            matches!(record.state, State::Free | State::Completed) && !record.is_absent()
        })
        .await;
        let ran = u32::from(record.state == State::Completed);
        assert_eq!(runs.load(Ordering::SeqCst), ran, "dropped at poll {polls}: {record:?}");
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

/// What is dropped before the function started is given back, and nothing ran.
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
        let record = until(&subject, "it should be free or completed", |record| {
            matches!(record.state, State::Free | State::Completed) && !record.is_absent()
        })
        .await;
        let ran = u32::from(record.state == State::Completed);
        assert_eq!(runs.load(Ordering::SeqCst), ran, "dropped at poll {polls}: {record:?}");
        let outcome = once().await.expect("a good call");
        assert!(matches!(outcome, Outcome::Replayed(7) | Outcome::Completed(7)), "{outcome:?}");
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        if was_ready {
            return;
        }
    }
}

/// Nobody holds what nobody has got.
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
