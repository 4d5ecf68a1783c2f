use sentinel::prelude::*;
use sentinel::reconcile::{DecisionOutcome, Holding, ReconcileOutcome, Reconciler, Refused};
use sentinel::record::{Kind, OpId, State, Token};
use sentinel::store::operation::{EvictReply, ReconcileReply};

use crate::{SECOND, charge, doubt, seen, sentinel, state};

async fn taken(sentinel: &Sentinel) -> Reconciler<Holding> {
    match sentinel.reconciler("k").operator("ada").reason("called the bank").reconcile().await.unwrap() {
        ReconcileOutcome::Taken(held) => *held,
        ReconcileOutcome::Refused(reply) => panic!("{reply:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_forced_result_is_replayed_from_now_on() {
    let sentinel = sentinel();
    let _ = doubt(&sentinel, "k").await;
    let held = taken(&sentinel).await;
    assert!(
        matches!(charge(&sentinel, "k").await, Outcome::Reconciling(by) if by.operator.as_str() == "ada")
    );
    assert!(matches!(held.force_complete(&"receipt 7").await.unwrap(), DecisionOutcome::Done { .. }));
    assert!(matches!(charge(&sentinel, "k").await, Outcome::Replayed(text) if text == "receipt 7"));
    let events = sentinel.history(Kind::Execution, "k", 10).await.unwrap();
    let last = events.last().unwrap();
    assert_eq!(last.operator.as_ref().unwrap().as_str(), "ada");
    assert_eq!(last.reason.as_ref().unwrap().as_str(), "called the bank");
}

#[tokio::test(start_paused = true)]
async fn after_a_reset_the_work_runs_again_under_the_same_idempotency_key() {
    let sentinel = sentinel();
    let _ = doubt(&sentinel, "k").await;
    let before = seen(&sentinel, "k").await.record.unwrap();
    tokio::time::sleep(SECOND * 60).await;
    assert!(matches!(taken(&sentinel).await.reset_to_claimed().await.unwrap(), DecisionOutcome::Done { .. }));
    assert!(matches!(charge(&sentinel, "k").await, Outcome::Completed(_)));
    let after = seen(&sentinel, "k").await.record.unwrap();
    assert_eq!(before.incarnation, after.incarnation);
    assert!(after.token > before.token);
}

#[tokio::test(start_paused = true)]
async fn a_reset_waits_until_effects_of_the_old_run_have_landed() {
    let sentinel = sentinel();
    let run = sentinel.once::<crate::Lied>("k").ttl(SECOND).hard_ttl(SECOND * 60);
    let run = tokio::spawn(run.run(|_| std::future::pending::<Result<(), _>>()));
    tokio::time::sleep(SECOND / 10).await;
    let refused = sentinel.reconciler("k").reconcile().await.unwrap();
    assert!(matches!(refused, ReconcileOutcome::Refused(ReconcileReply::StillAlive { .. })));
    let taken = sentinel.reconciler("k").even_if_alive().reconcile().await.unwrap();
    let ReconcileOutcome::Taken(held) = taken else { panic!("not taken") };
    let early = held.reset_to_claimed().await.unwrap();
    assert!(matches!(early, DecisionOutcome::Refused(Refused::EffectsMayLand { .. })));
    tokio::time::sleep(SECOND * 60).await;
    let early = held.reset_to_claimed().await.unwrap();
    assert!(
        matches!(early, DecisionOutcome::Refused(Refused::EffectsMayLand { .. })),
        "an effect may be a minute late"
    );
    tokio::time::sleep(SECOND * 60).await;
    assert!(matches!(held.reset_to_claimed().await.unwrap(), DecisionOutcome::Done { .. }));
    run.abort();
}

#[tokio::test(start_paused = true)]
async fn details_of_the_run_are_returned_by_reconcile_and_not_by_resume() {
    let sentinel = sentinel().worker("worker-7").unwrap();
    let run = sentinel.once::<crate::Lied>("k").ttl(SECOND).hard_ttl(SECOND * 60);
    let run = tokio::spawn(run.run(|_| std::future::pending::<Result<(), _>>()));
    tokio::time::sleep(SECOND / 10).await;
    let before = seen(&sentinel, "k").await;
    let record = before.record.unwrap();
    let op_id = OpId::random();
    let taking = sentinel.reconciler("k").op_id(op_id).even_if_alive().reconcile().await.unwrap();
    let ReconcileOutcome::Taken(held) = taking else { panic!("not taken") };
    assert_eq!(held.taken_by(), Some(op_id));
    assert_eq!(held.since(), Some(before.now));
    assert_eq!(held.effects_until(), Some(record.effects_until));
    assert_eq!((held.begun_at(), record.begun_at.is_some()), (record.begun_at, true));
    assert_eq!(held.worker().map(|worker| worker.as_str()), Some("worker-7"));
    let DecisionOutcome::Refused(early) = held.reset_to_claimed().await.unwrap() else { panic!("reset") };
    assert!(early.to_string().contains(&record.effects_until.to_string()), "{early}");

    let resumed = sentinel.reconciler("k").resume(held.token());
    assert_eq!((resumed.taken_by(), resumed.since(), resumed.effects_until()), (None, None, None));
    assert!(held.accept_overlap().reset_to_claimed().await.is_ok());
    let DecisionOutcome::Refused(stale) = resumed.force_complete(&()).await.unwrap() else {
        panic!("completed")
    };
    assert!(stale.to_string().contains("free"), "{stale}");
    run.abort();
}

#[tokio::test(start_paused = true)]
async fn a_repeated_decision_is_the_same_and_a_late_one_is_stale() {
    let sentinel = sentinel();
    let _ = doubt(&sentinel, "k").await;
    let token = seen(&sentinel, "k").await.record.unwrap().token;
    let op_id = OpId::random();
    let take = || sentinel.reconciler("k").expect(token).op_id(op_id).reconcile();
    let ReconcileOutcome::Taken(first) = take().await.unwrap() else { panic!("not taken") };
    let ReconcileOutcome::Taken(again) = take().await.unwrap() else { panic!("not the same") };
    assert_eq!(first.token(), again.token());

    let decision = OpId::random();
    let reset =
        || async { sentinel.reconciler("k").resume(first.token()).op_id(decision).reset_to_claimed().await };
    tokio::time::sleep(SECOND * 60).await;
    let done = reset().await.unwrap();
    assert!(matches!(charge(&sentinel, "k").await, Outcome::Completed(_)));
    assert_eq!(reset().await.unwrap(), done, "repeated after a newer run, it answers the same");
    assert_eq!(state(&sentinel, "k").await, State::Completed, "and does not touch it");
    assert!(matches!(take().await.unwrap(), ReconcileOutcome::Refused(ReconcileReply::StaleDecision(_))));
}

#[tokio::test(start_paused = true)]
async fn an_eviction_frees_a_claim_and_never_an_execution() {
    let sentinel = sentinel();
    let _ = doubt(&sentinel, "k").await;
    let token = seen(&sentinel, "k").await.record.unwrap().token;
    let (_, reply) = sentinel.evict(Kind::Execution, "k", token).operator("ada").evict().await.unwrap();
    assert_eq!(reply, EvictReply::Executing);
    let stale = Token::new(1).unwrap();
    let (_, reply) = sentinel.evict(Kind::Execution, "k", stale).evict().await.unwrap();
    assert!(matches!(reply, EvictReply::StaleDecision(current) if current.token == token));
}

#[tokio::test(start_paused = true)]
async fn uncertain_keys_are_listed() {
    let sentinel = sentinel();
    let _ = charge(&sentinel, "done").await;
    let _ = doubt(&sentinel, "b").await;
    let _ = doubt(&sentinel, "a").await;
    let page = sentinel.uncertain(None, 10).await.unwrap();
    let keys: Vec<_> = page.records.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn purge_deletes_only_records_that_are_no_longer_needed() {
    let sentinel = sentinel();
    let once = sentinel.once("short").retention(SECOND);
    let _ = once.run(|_| async { Ok::<_, crate::Lied>(()) }).await.unwrap();
    let _ = charge(&sentinel, "kept").await;
    let _ = doubt(&sentinel, "uncertain").await;
    tokio::time::advance(SECOND * 4000).await;
    assert_eq!(sentinel.purge(true).await.unwrap().records, 1);
    assert_eq!(sentinel.purge(false).await.unwrap().records, 1);
    assert_eq!(seen(&sentinel, "short").await.record, None);
    assert_eq!(state(&sentinel, "kept").await, State::Completed);
    assert_eq!(state(&sentinel, "uncertain").await, State::Executing);
}
