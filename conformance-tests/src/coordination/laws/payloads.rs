//! Spec §1: a completed result is replayed, byte for byte.

use sentinel_core::operation::*;
use sentinel_core::{Payload, RecordedResult, Verdict};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;
use crate::diff::assert_eq;

/// A result comes back as it was handed in: to a claim, to an inspect, and to a repeat of the complete.
async fn replayed(context: &LawContext, name: &str, result: &RecordedResult) {
    let key = context.execution(name);
    let grant = key.completed(&call("ann"), result).await;
    expect_reply!(key.claim(&call("bob")).await, ClaimReply::Completed { result: got, .. } if got == *result);
    assert!(key.record().await.result.as_ref() == Some(result), "what is inspected is what was recorded");
    expect_reply!(key.complete(grant, result).await, CompleteReply::Recorded { .. });
}

/// Every byte, in every order, is kept.
pub(crate) async fn every_byte_is_replayed(context: &LawContext) {
    let up: Vec<u8> = (0..=255).collect();
    let down: Vec<u8> = (0..=255).rev().collect();
    replayed(context, "up", &RecordedResult::success(Payload::new(Payload::OCTETS, up))).await;
    replayed(context, "down", &RecordedResult::success(Payload::new(Payload::OCTETS, down))).await;
    replayed(context, "zeros", &RecordedResult::success(Payload::new(Payload::OCTETS, vec![0; 64]))).await;
}

/// No bytes at all is a result.
pub(crate) async fn an_empty_result_is_replayed(context: &LawContext) {
    replayed(context, "k", &RecordedResult::success(Payload::empty())).await;
    replayed(context, "l", &RecordedResult::failure(Some(0), Payload::empty())).await;
}

/// A mebibyte is kept whole.
pub(crate) async fn a_mebibyte_is_replayed(context: &LawContext) {
    let bytes: Vec<u8> = (0..Payload::DEFAULT_LIMIT).map(|n| (n * 31 % 251) as u8).collect();
    replayed(context, "k", &RecordedResult::success(Payload::new(Payload::OCTETS, bytes))).await;
}

/// JSON is bytes: order, spaces and numbers stay as they are.
pub(crate) async fn json_is_replayed_as_it_was_written(context: &LawContext) {
    let json = "{ \"b\":1.0, \"a\":1e2,\"a\":12345678901234567890 , \"\\u0000\":\"é\" }\n";
    replayed(context, "k", &RecordedResult::success(Payload::new(Payload::JSON, json))).await;
}

/// The content type is kept as it is.
pub(crate) async fn the_content_type_is_replayed(context: &LawContext) {
    for (n, kind) in ["text/plain; charset=\"utf-8\"", "x", "a/b'c", "типа/тест"].into_iter().enumerate()
    {
        replayed(context, &format!("k{n}"), &RecordedResult::success(Payload::new(kind, "x"))).await;
    }
}

/// The code is kept, from the smallest to the largest, and none is none.
pub(crate) async fn the_code_is_replayed(context: &LawContext) {
    for (n, code) in [None, Some(0), Some(-1), Some(i32::MIN), Some(i32::MAX)].into_iter().enumerate() {
        let payload = Payload::new(Payload::JSON, "1");
        replayed(
            context,
            &format!("s{n}"),
            &RecordedResult { code, ..RecordedResult::success(payload.clone()) },
        )
        .await;
        replayed(context, &format!("f{n}"), &RecordedResult::failure(code, payload)).await;
    }
}

/// A result that was left out is complete without its bytes, and is marked as omitted.
pub(crate) async fn an_omitted_result_is_replayed_as_omitted(context: &LawContext) {
    for (name, verdict) in [("success", Verdict::Success), ("failure", Verdict::Failure)] {
        let omitted = RecordedResult { verdict, omitted: true, ..RecordedResult::success(Payload::empty()) };
        replayed(context, name, &omitted).await;
    }
}

/// A forced result comes back byte for byte as well.
pub(crate) async fn a_forced_result_is_replayed_byte_for_byte(context: &LawContext) {
    let key = context.execution("k");
    let doubt = key.abandoned(&call("ann")).await;
    let token = key.taken(&reconcile("olga", doubt.token)).await;
    let bytes: Vec<u8> = (0..=255).collect();
    let forced = RecordedResult::failure(Some(-7), Payload::new("application/x-odd", bytes));
    key.force_complete(&force("olga", token, &forced)).await;
    expect_reply!(key.claim(&call("bob")).await, ClaimReply::Completed { result: got, .. } if got == forced);
}

/// Labels and fingerprints are kept as they are, the longest too.
pub(crate) async fn labels_and_fingerprints_are_kept_unchanged(context: &LawContext) {
    let texts = ["x".repeat(1024), "é😀'\"\\%_{}".into(), " a ".into(), "null".into(), "0".into()];
    for (n, text) in texts.iter().enumerate() {
        let key = context.execution(&format!("k{n}"));
        let ann = Claim { fingerprint: about(text), ..call(text) };
        let grant = key.begun(&ann).await;
        key.abandon(grant, text).await;
        let asked = Reconcile { reason: Some(label(text)), ..reconcile(text, grant.token) };
        key.taken(&asked).await;
        let record = key.record().await;
        assert_eq!((record.worker, record.fingerprint), (Some(label(text)), ann.fingerprint));
        assert_eq!(record.doubt, Some(label(text)));
        let decision = record.decision.expect("a decision");
        assert_eq!((decision.operator, decision.reason), (label(text), Some(label(text))));
        let events = key.events().await;
        assert_eq!(events[2].reason, Some(label(text)));
        assert_eq!((&events[3].operator, &events[3].reason), (&Some(label(text)), &Some(label(text))));
    }
}
