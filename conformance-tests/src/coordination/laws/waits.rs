//! The client's `wait`, which claims nothing: what it returns rests on how a store answers the repeated claim of a run
//! that has completed.

use std::time::Duration;

use sentinel_client::{Sentinel, Waited};
use sentinel_core::State;
use sentinel_core::operation::*;

use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};

/// Nothing takes longer than this.
const AT_LAST: Duration = Duration::from_secs(60);

/// A client of the store under test.
fn client(context: &LawContext) -> Sentinel {
    let sentinel = Sentinel::from_arc(context.store().clone()).namespace(context.namespace());
    sentinel.expect("the context's namespace is one")
}

/// What a caller who does not wait finds. The record is untouched.
async fn read(context: &LawContext, subject: &Subject<'_>) -> Waited {
    let before = subject.record().await;
    let waited = client(context).wait(&subject.address.key).await.expect("the store answers");
    subject.assert_untouched_since(&before).await;
    waited
}

/// A key that any call may claim has no run to wait for, and stays as it is.
pub(crate) async fn a_wait_for_a_claimable_key_claims_nothing(context: &LawContext) {
    let absent = context.execution("absent");
    assert_eq!(read(context, &absent).await, Waited::Absent);
    assert!(absent.record().await.is_absent());

    let released = context.execution("released");
    let grant = released.granted(&call("ann")).await;
    released.release(grant).await;
    let lapsed = context.execution("lapsed");
    lapsed.granted(&call("ann")).await;
    assert!(matches!(read(context, &lapsed).await, Waited::InProgress(run) if run.state == State::Claimed));
    let kept = context.execution("kept");
    let grant = kept.completed(&Claim { retention: Some(TTL), ..call("ann") }, &result("receipt")).await;
    assert!(matches!(read(context, &kept).await, Waited::Completed(run) if run.token == grant.token));
    context.advance(TTL).await;
    for subject in [&released, &lapsed, &kept] {
        assert_eq!(read(context, subject).await, Waited::Absent, "{}", subject.address);
    }
}

/// A completed run is returned with its bytes and its fingerprint, if a worker or an operator completed it.
pub(crate) async fn a_wait_returns_what_is_recorded(context: &LawContext) {
    let ann = Claim { fingerprint: about("19.99 EUR"), ..fused("ann") };
    let by_worker = context.execution("by worker");
    let grant = by_worker.granted(&ann).await;
    assert!(
        matches!(read(context, &by_worker).await, Waited::InProgress(run) if run.state == State::Executing)
    );
    by_worker.complete(grant, &result("receipt")).await;

    let by_operator = context.execution("by operator");
    let grant =
        by_operator.granted(&Claim { claim_id: sentinel_core::ClaimId::random(), ..ann.clone() }).await;
    by_operator.abandon(grant, "connection reset").await;
    assert!(matches!(read(context, &by_operator).await, Waited::Uncertain(run) if run.token == grant.token));
    let taken = by_operator.reconcile(&reconcile("ada", grant.token)).await;
    assert!(
        matches!(read(context, &by_operator).await, Waited::Reconciling(by) if by.operator == label("ada"))
    );
    by_operator.force_complete(&force("ada", taken.stamp.token, &result("receipt"))).await;

    for subject in [&by_worker, &by_operator] {
        let Waited::Completed(completed) = read(context, subject).await else {
            panic!("{} is completed", subject.address)
        };
        assert_eq!(completed.result, result("receipt"), "{}", subject.address);
        assert_eq!(completed.fingerprint, ann.fingerprint, "{}", subject.address);
        assert_eq!(completed.token, subject.record().await.token, "{}", subject.address);
    }
}

/// Any number of callers of a process get the result of another one's run, and none of them claims.
pub(crate) async fn a_wait_ends_with_the_run_of_another_process(context: &LawContext) {
    let subject = context.execution("k");
    let grant = subject.granted(&fused("ann")).await;
    let sentinel = client(context);
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let wait = sentinel.wait("k").at_most(AT_LAST);
            tokio::spawn(async move { wait.await.expect("the store answers") })
        })
        .collect();
    tokio::task::yield_now().await;
    subject.complete(grant, &result("receipt")).await;
    for waiting in waiting {
        let waited = waiting.await.expect("it does not panic");
        assert!(matches!(&waited, Waited::Completed(run) if run.result == result("receipt")), "{waited:?}");
    }
    assert_eq!(subject.changes().await, ["claimed", "completed"]);
}
