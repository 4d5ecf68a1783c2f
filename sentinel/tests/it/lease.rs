use sentinel::lease::{Lease, ReleaseOutcome};
use sentinel::outcome::Lost;
use sentinel::prelude::*;
use sentinel::record::Kind;

use sentinel_conformance::{Fault, FaultPlan};

use crate::harness::Harness;
use crate::{SECOND, sentinel};

async fn take(sentinel: &Sentinel) -> Option<Lease> {
    match sentinel.lease("poller").ttl(SECOND).hard_ttl(SECOND * 30).acquire().await.unwrap() {
        LeaseOutcome::Held(lease) => Some(lease),
        LeaseOutcome::InProgress(_) => None,
        LeaseOutcome::NotHeld(reason) => panic!("{reason}"),
    }
}

#[tokio::test(start_paused = true)]
async fn one_worker_holds_the_lease_and_heartbeats_extend_it() {
    let sentinel = sentinel();
    let lease = take(&sentinel).await.unwrap();
    for _ in 0..10 {
        tokio::time::sleep(SECOND).await;
        assert!(take(&sentinel).await.is_none());
    }
    assert_eq!(lease.lost(), None);
    assert!(lease.remaining() > SECOND / 2 && lease.remaining() <= SECOND, "extended again and again");
    assert!(lease.hard_remaining() <= SECOND * 20 && lease.hard_remaining() > SECOND * 19);
    let token = lease.token();
    assert_eq!(lease.release().await.unwrap(), ReleaseOutcome::Released);
    assert!(take(&sentinel).await.unwrap().token() > token);
}

#[tokio::test(start_paused = true)]
async fn no_heartbeat_keeps_it_past_its_hard_deadline() {
    let sentinel = sentinel();
    let lease = take(&sentinel).await.unwrap();
    assert!(lease.hard_remaining() <= SECOND * 30);
    lease.cancelled().cancelled().await;
    assert_eq!(lease.lost(), Some(Lost::HardDeadline));
    let next = take(&sentinel).await.unwrap();
    let ReleaseOutcome::LostBefore(current) = lease.release().await.unwrap() else { panic!("released") };
    assert_eq!(current.token, next.token());
}

#[tokio::test(start_paused = true)]
async fn an_evicted_holder_loses_its_lease() {
    let sentinel = sentinel();
    let lease = take(&sentinel).await.unwrap();
    let (_, reply) = sentinel.evict(Kind::Lease, "poller", lease.token()).evict().await.unwrap();
    assert!(matches!(reply, sentinel::store::operation::EvictReply::Evicted { .. }));
    lease.cancelled().cancelled().await;
    assert!(matches!(lease.lost(), Some(Lost::Superseded(_))));
}

#[tokio::test(start_paused = true)]
async fn dropping_it_releases_it() {
    let sentinel = sentinel();
    drop(take(&sentinel).await);
    tokio::task::yield_now().await;
    assert!(take(&sentinel).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn waiting_callers_get_the_lease_one_after_the_other() {
    let sentinel = sentinel();
    let lease = take(&sentinel).await.unwrap();
    let queued = tokio::spawn(sentinel.lease("poller").ttl(SECOND).wait(SECOND * 20).acquire());
    tokio::time::sleep(SECOND * 3).await;
    assert!(!queued.is_finished());
    lease.release().await.unwrap();
    assert!(matches!(queued.await.unwrap().unwrap(), LeaseOutcome::Held(_)));
}

#[tokio::test(start_paused = true)]
async fn a_lease_and_an_execution_of_one_key_are_two_records() {
    let sentinel = sentinel();
    let _lease = take(&sentinel).await.unwrap();
    assert!(matches!(crate::charge(&sentinel, "poller").await, Outcome::Completed(_)));
}

#[test]
fn dropping_it_outside_of_any_runtime_releases_it_too() {
    let sentinel = sentinel();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lease = runtime().block_on(take(&sentinel));
    drop(lease.unwrap());
    assert!(runtime().block_on(take(&sentinel)).is_some());
}

#[test]
fn dropping_it_outside_of_any_runtime_is_safe_if_the_store_does_not_answer() {
    let harness = Harness::new(FaultPlan::none().every("release", Fault::NotApplied));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lease = runtime.block_on(take(&harness.ours));
    drop(runtime);
    drop(lease.unwrap());
    assert_eq!(harness.wire.sent("release"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_and_a_run_return_both_columns_of_a_fence() {
    let sentinel = sentinel();
    let lease = take(&sentinel).await.unwrap();
    let columns = lease.fence();
    assert_eq!(columns.address, "billing/lease/poller", "not the execution's");
    assert_eq!(u64::try_from(columns.token).unwrap(), lease.token().get());
    assert_eq!((lease.address().kind, lease.address().key.as_str()), (Kind::Lease, "poller"));
    assert_eq!((lease.grant().token, lease.grant().claim_id), (lease.token(), lease.claim_id()));
    let run =
        |run: Run| async move { Ok::<_, std::convert::Infallible>((run.fence().address, run.fence().token)) };
    let Outcome::Completed((address, token)) = sentinel.once("a/b").run(run).await.unwrap() else { panic!() };
    let record = sentinel.inspect(Kind::Execution, "a/b").await.unwrap().record.unwrap();
    assert_eq!(
        (address.as_str(), u64::try_from(token).unwrap()),
        ("billing/execution/a/b", record.token.get())
    );
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_printed_without_the_other_keys_of_its_client() {
    let sentinel = sentinel();
    let LeaseOutcome::Held(_other) = sentinel.lease("private").acquire().await.unwrap() else { panic!() };
    let outcome = sentinel.lease("mine").acquire().await.unwrap();
    let text = format!("{outcome:?}");
    assert!(text.contains("mine") && !text.contains("private"), "{text}");
}
