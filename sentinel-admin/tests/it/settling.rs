//! Settling an uncertain key in one call, over the store in memory.

use std::time::Duration;

use sentinel_admin::{Facts, NotSettled, SettleRequest, Settled, Settlement, settle, why};
use sentinel_client::{Outcome, Sentinel};
use sentinel_core::operation::ReconcileReply;
use sentinel_core::{Address, Kind, Label, OpId, Payload, RecordedResult, State, Token};
use sentinel_memory::MemoryStore;

const LATE: Duration = Duration::from_secs(60);

fn request(settlement: Settlement) -> SettleRequest {
    let (operator, reason) = (Label::lossy("ada"), Some(Label::lossy("asked the bank")));
    SettleRequest { settlement, op_id: OpId::random(), operator, reason, expect: None, as_is: false }
}

fn happened(text: &'static str) -> Settlement {
    Settlement::Happened(RecordedResult::success(Payload::new(Payload::JSON, text)))
}

/// A key whose function has reported an unknown outcome.
async fn uncertain() -> Sentinel {
    let sentinel = Sentinel::new(MemoryStore::new());
    let fails = |_| async { Err::<String, _>(std::io::Error::other("no answer")) };
    let outcome = sentinel.once("k").late_effects(LATE).run(fails).await.unwrap();
    assert!(matches!(outcome, Outcome::RanUncertain(_)), "{outcome:?}");
    sentinel
}

async fn replayed(sentinel: &Sentinel) -> Outcome<String, std::io::Error> {
    sentinel.once("k").run(|_| async { Ok("ran".to_owned()) }).await.unwrap()
}

async fn events(sentinel: &Sentinel) -> usize {
    sentinel.history(Kind::Execution, "k", 100).await.unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn what_happened_is_replayed_and_a_repeated_request_gets_the_same_reply() {
    let sentinel = uncertain().await;
    let request = request(happened("\"paid\""));
    let first = settle(&sentinel, "k", &request).await.unwrap().unwrap();
    let count = events(&sentinel).await;
    assert_eq!(settle(&sentinel, "k", &request).await.unwrap(), Ok(first));
    assert_eq!(events(&sentinel).await, count, "repeating it changes nothing");
    assert!(matches!(replayed(&sentinel).await, Outcome::Replayed(text) if text == "paid"));
    let other = SettleRequest { settlement: happened("\"other\""), ..request };
    assert!(settle(&sentinel, "k", &other).await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn what_did_not_happen_is_settled_only_after_the_last_effect() {
    let sentinel = uncertain().await;
    let request = request(Settlement::DidNotHappen);
    let early = settle(&sentinel, "k", &request).await.unwrap();
    assert!(matches!(early, Err(NotSettled::TooEarly { .. })), "{early:?}");
    assert_eq!(events(&sentinel).await, 2, "nothing was changed");
    tokio::time::advance(LATE).await;
    assert!(matches!(settle(&sentinel, "k", &request).await.unwrap(), Ok(Settled { .. })));
    assert!(matches!(replayed(&sentinel).await, Outcome::Completed(text) if text == "ran"));
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_second_half_was_lost_continues_under_the_same_id() {
    let sentinel = uncertain().await;
    let request = request(happened("\"paid\""));
    let taken = sentinel.reconciler("k").op_id(request.op_id).operator("ada").reconcile().await.unwrap();
    assert!(matches!(taken, sentinel_client::ReconcileOutcome::Taken(_)));
    assert!(settle(&sentinel, "k", &request).await.unwrap().is_ok());
    assert!(matches!(replayed(&sentinel).await, Outcome::Replayed(text) if text == "paid"));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_another_operator_holds_is_not_settled() {
    let sentinel = uncertain().await;
    let taken = sentinel.reconciler("k").operator("grace").reconcile().await.unwrap();
    assert!(matches!(taken, sentinel_client::ReconcileOutcome::Taken(_)));
    let refused = settle(&sentinel, "k", &request(happened("1"))).await.unwrap();
    let holder = match &refused {
        Err(NotSettled::NotTaken(ReconcileReply::HeldBy { operator, .. })) => Some(operator.as_str()),
        _ => None,
    };
    assert_eq!(holder, Some("grace"), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn another_token_and_a_result_that_callers_cannot_decode_are_refused_before_the_key_is_taken() {
    let sentinel = uncertain().await;
    let stale = SettleRequest { expect: Some(Token::from_stored(7)), ..request(happened("1")) };
    let refused = settle(&sentinel, "k", &stale).await.unwrap();
    assert!(matches!(refused, Err(NotSettled::NotTaken(ReconcileReply::StaleDecision(_)))), "{refused:?}");
    let text = RecordedResult::success(Payload::new("text/plain", "paid"));
    let undecodable = request(Settlement::Happened(text));
    let refused = settle(&sentinel, "k", &undecodable).await.unwrap();
    assert!(matches!(refused, Err(NotSettled::NotDecodable { .. })), "{refused:?}");
    assert!(settle(&sentinel, "k", &request(happened("no JSON"))).await.is_err());
    let record = sentinel.inspect(Kind::Execution, "k").await.unwrap().record.unwrap();
    assert_eq!((record.state, events(&sentinel).await), (State::Executing, 2), "nothing was changed");
    let as_is = SettleRequest { as_is: true, ..undecodable };
    assert!(settle(&sentinel, "k", &as_is).await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn facts_are_read_from_a_store() {
    let sentinel = uncertain().await;
    let record = sentinel.inspect(Kind::Execution, "k").await.unwrap().record.unwrap();
    let namespace = sentinel_core::Namespace::new("default").unwrap();
    let address = Address::execution(namespace, sentinel_core::Key::new("k").unwrap());
    let facts = Facts::read(&**sentinel.store(), &address).await.unwrap();
    assert_eq!((facts.record.as_ref(), facts.events.len(), facts.complete), (Some(&record), 2, true));
    assert!(why(&facts).headline.text.to_string().contains("has been uncertain for"));
}
