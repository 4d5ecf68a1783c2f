//! Spec §3, force_complete: what an operator records must be what the callers of the key can decode.

use sentinel_core::kernel::{self, Reading};
use sentinel_core::operation::*;
use sentinel_core::{Accepts, Change, Payload, RecordedResult, Token};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};
use crate::diff::same;

/// Lists of content types, as callers give them.
fn lists() -> Vec<Accepts> {
    let long: Vec<String> = (0..40).map(|n| format!("application/x-{n:010}")).collect();
    let lists: [&[&str]; 5] = [
        &["text/plain"],
        &["Text/Plain; charset=utf-8", "image/png"],
        &["application/vnd.shop.v1+json", "application/json"],
        &["x"],
        &["application/octet-stream", "text/html", "text/plain"],
    ];
    let lists = lists.map(|list| Accepts::new(list.iter().copied()).expect("content types"));
    let long = Accepts::new(long.iter().map(String::as_str)).expect("content types");
    lists.into_iter().chain([long, Accepts::any(), Accepts::json()]).collect()
}

/// A reconciling record whose callers decode some content types, and the reconcile token.
async fn held(key: &Subject<'_>, accepts: &Accepts) -> Token {
    let doubt = key.abandoned(&Claim { accepts: accepts.clone(), ..call("ann") }).await;
    key.taken(&reconcile("olga", doubt.token)).await
}

/// A claim records what its callers can decode, in record and event, until the record is decided; a tombstone has none
/// of it, and the next claim its own.
pub(crate) async fn a_claim_records_the_content_types_its_callers_decode(context: &LawContext) {
    for (n, accepts) in lists().into_iter().enumerate() {
        for key in [context.execution(&format!("k{n}")), context.lease(&format!("k{n}"))] {
            let grant = key.granted(&Claim { accepts: accepts.clone(), ..call("ann") }).await;
            same("accepts", &accepts, &key.record().await.accepts);
            let event = key.newest_events(1).await.remove(0);
            let Change::Claimed { accepts: got, .. } = event.change else { panic!("{event:?}") };
            same("accepts of the event", &accepts, &got);
            expect_reply!(key.release(grant).await, ReleaseReply::Released);
            same("accepts of a tombstone", &Accepts::any(), &key.record().await.accepts);
            let own = Claim { accepts: Accepts::json(), ..call("bob") };
            key.granted(&own).await;
            same("accepts of the next claim", &Accepts::json(), &key.record().await.accepts);
            key.assert_rebuilt().await;
        }
        let key = context.execution(&format!("doubt {n}"));
        held(&key, &accepts).await;
        same("accepts of an uncertain key", &accepts, &key.record().await.accepts);
        key.assert_rebuilt().await;
    }
}

/// A forced result of another content type is refused, with what callers accept, and nothing changes. Parameters and
/// case of a content type do not count; failures and omitted results are not decoded. The kernel decides, for each
/// list.
pub(crate) async fn a_forced_result_must_be_decodable(context: &LawContext) {
    let kinds = [
        Payload::JSON,
        "application/JSON; charset=utf-8",
        "text/plain",
        " Text/Plain ;q=1",
        "text/plainer",
        "text/*",
        "image/png",
        "application/vnd.shop.v1+json",
        "application/x-0000000039",
        "application/x-0000000040",
        "x",
        "*/*",
        Payload::OCTETS,
        "text/html,text/plain",
    ];
    let mut count = [0, 0];
    for (n, accepts) in lists().into_iter().enumerate() {
        for (m, kind) in kinds.into_iter().enumerate() {
            let payload = Payload { content_type: label(kind), ..Payload::new("x", "bytes") };
            let success = RecordedResult::success(payload.clone());
            let omitted = RecordedResult { omitted: true, ..success.clone() };
            let results = [success, RecordedResult::failure(None, payload), omitted];
            let count_of = if (n + m) % 4 == 0 { results.len() } else { 1 };
            for (w, result) in results.into_iter().enumerate().take(count_of) {
                let key = context.execution(&format!("{n} {m} {w}"));
                let token = held(&key, &accepts).await;
                let before = key.record().await;
                let decision = force("olga", token, &result);
                let reply = key.force_complete(&decision).await;
                let at = Reading { kind: key.address.kind, now: reply.stamp.now, floor: Token::NONE };
                let mut after = before.clone();
                let expected = kernel::apply(&mut after, &decision, at).expect("a decision").stamped;
                same(&format!("the reply to {kind:?}, where {accepts} is accepted"), &expected, &reply);
                same("the record", &after, &key.record().await);
                count[usize::from(reply.stamp.changed)] += 1;
            }
        }
    }
    assert!(count[0] > 20 && count[1] > 20, "refused and recorded: {count:?}");
}

/// An operator may force any bytes with `as_is`, and callers get them as they are. A refused decision is no decision:
/// its op id may be used again.
pub(crate) async fn an_operator_can_force_an_undecodable_result(context: &LawContext) {
    let (key, accepts) = (context.execution("k"), Accepts::json());
    let token = held(&key, &accepts).await;
    let before = key.record().await;
    let refused = force("olga", token, &picture());
    for _ in 0..2 {
        expect_reply!(key.force_complete(&refused).await,
            ForceCompleteReply::NotDecodable { accepts: got } if got == accepts);
        key.assert_untouched_since(&before).await;
    }
    let stale = force("olga", other_token(token), &picture());
    expect_reply!(key.force_complete(&stale).await, ForceCompleteReply::StaleDecision(_));
    let forced = ForceComplete { as_is: true, ..refused.clone() };
    expect_reply!(key.force_complete(&forced).await, ForceCompleteReply::Completed);
    let done = key.record().await;
    for repeated in [forced, refused] {
        let reply = key.force_complete(&repeated).await;
        assert!(!reply.stamp.changed, "{reply:?}");
        expect_reply!(reply, ForceCompleteReply::Completed);
    }
    key.assert_untouched_since(&done).await;
    expect_reply!(key.claim(&call("bob")).await, ClaimReply::Completed { result, .. } if result == picture());
}

/// Another token than the reconcile token.
fn other_token(token: Token) -> Token {
    Token::from_stored(token.get() - 1)
}

/// What a worker records is not compared with the list: it is what its function returned.
pub(crate) async fn a_completion_is_not_checked_against_the_content_types(context: &LawContext) {
    let key = context.execution("k");
    key.completed(&Claim { accepts: Accepts::json(), ..call("ann") }, &picture()).await;
    expect_reply!(key.claim(&call("bob")).await, ClaimReply::Completed { result, .. } if result == picture());
}
