//! Causes: a claim records why it was made and what it is about, both decide nothing, and the records of a root or a
//! trace are found.

use std::sync::Arc;

use sentinel_core::operation::*;
use sentinel_core::store::List;
use sentinel_core::survey::CausePage;
use sentinel_core::{
    Address, By, Cause, CauseQuery, Change, Key, Kind, Label, Namespace, PURGE_REST, Record, Root, Survey,
    Token, TraceId,
};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};
use crate::diff::same;

/// A root that no other law uses: laws share a server.
fn root(context: &LawContext, name: &str) -> Root {
    Root::new(format!("{}/{name}", context.namespace())).expect("a root")
}

/// A cause with a root that no other law uses.
fn cause(context: &LawContext, name: &str) -> Cause {
    Cause::new(root(context, name))
}

/// Asks for the root of a cause.
fn by_root(cause: &Cause) -> CauseQuery {
    CauseQuery::Root(cause.root().clone())
}

/// A fresh call with a cause.
fn because(cause: &Cause) -> Claim {
    Claim { cause: Some(cause.clone()), about: Some(label("an order")), ..call("ann") }
}

/// Another trace at each call.
fn trace() -> TraceId {
    TraceId::from_bits(sentinel_core::ClaimId::random().bits() | 1).expect("not zero")
}

/// The cause with the longest parts: a root of 128 bytes that all need an escape, a trace, 32 hops, and the run of a
/// key of 512 bytes.
fn largest(context: &LawContext) -> Cause {
    // A namespace is unique at its end.
    let own: String = context.namespace().as_str().chars().rev().take(20).collect();
    let root = Root::new(format!("{own}{}", "%".repeat(Root::MAX_BYTES - 20))).expect("a root");
    let namespace = Namespace::new("n".repeat(Namespace::MAX_BYTES)).expect("a namespace");
    let key = Key::new("ü".repeat(Key::MAX_BYTES / 2)).expect("a key");
    let by = By { address: Address::lease(namespace, key), token: Token::MAX };
    let first = Cause::new(root).with_trace(trace());
    (0..Cause::MAX_HOPS).fold(first, |cause, _| cause.child(by.clone()).expect("a hop"))
}

/// One page, which must be complete and within its limit.
async fn page(
    survey: &Arc<dyn Survey>,
    query: &CauseQuery,
    after: Option<&Address>,
    limit: u32,
) -> CausePage {
    let page = survey.by_cause(query, after, limit).await.expect("the store reads");
    assert!(page.records.len() <= limit as usize, "{} records of at most {limit}", page.records.len());
    assert!(!page.incomplete, "a store that is not in doubt is complete");
    page
}

/// The addresses of all records, page by page; and each record is the one that `inspect` returns, without its bytes.
async fn found(
    context: &LawContext,
    survey: &Arc<dyn Survey>,
    query: &CauseQuery,
    limit: u32,
) -> Vec<Address> {
    let (mut all, mut after): (Vec<Address>, Option<Address>) = (Vec::new(), None);
    loop {
        let page = page(survey, query, after.as_ref(), limit).await;
        for (address, record) in &page.records {
            let mut inspected = context.subject(address.clone()).record().await;
            if let Some(result) = &mut inspected.result {
                result.payload.bytes = Default::default();
            }
            same("a record of a page", &inspected, record);
            assert!(page.now >= record.last_now, "the page was read after the last change");
        }
        let is_last = page.records.len() < limit as usize;
        all.extend(page.records.into_iter().map(|(address, _)| address));
        assert!(all.len() < 1_000, "the pages do not end");
        if is_last {
            return all;
        }
        after = all.last().cloned();
    }
}

/// Checks that a query finds exactly these records, if the harness can read by cause.
async fn assert_found(context: &LawContext, query: &CauseQuery, expected: &[&Subject<'_>]) {
    let Some(survey) = context.survey() else { return };
    let expected: Vec<_> = expected.iter().map(|subject| subject.address.clone()).collect();
    same("the records of a cause", &expected, &found(context, &survey, query, List::MAX).await);
}

/// Cause and text of a record and of its newest claim.
async fn assert_kept(key: &Subject<'_>, claim: &Claim) {
    let record = key.record().await;
    same("cause and text of the record", &(&claim.cause, &claim.about), &(&record.cause, &record.about));
    let is_claim = |change: &Change| matches!(change, Change::Claimed { .. });
    let events = key.events().await;
    let newest = events.into_iter().rev().map(|event| event.change).find(is_claim).expect("a claim");
    let Change::Claimed { cause, about, .. } = newest else { unreachable!("a claim") };
    same("cause and text of the event", &(&claim.cause, &claim.about), &(&cause, &about));
    key.assert_rebuilt().await;
}

/// A claim records its cause and what it is about, in record and event. Both stay through the run and in a tombstone,
/// until another claim replaces them; its own may be none.
pub(crate) async fn a_claim_records_its_cause_and_what_it_is_about(context: &LawContext) {
    let longest = Label::new("ü".repeat(512)).expect("a label");
    let claims = [
        because(&cause(context, "order \"42\", 100% €")),
        Claim { about: None, ..because(&cause(context, "plain").with_trace(trace())) },
        Claim { cause: None, ..because(&cause(context, "plain")) },
        Claim { about: Some(longest), ..because(&largest(context)) },
    ];
    for (n, ann) in claims.iter().enumerate() {
        for key in [context.execution(&format!("k{n}")), context.lease(&format!("k{n}"))] {
            let grant = key.granted(ann).await;
            assert_kept(&key, ann).await;
            expect_reply!(key.release(grant).await, ReleaseReply::Released);
            assert_kept(&key, ann).await;
            for next in 1..=claims.len() {
                let claim_id = sentinel_core::ClaimId::random();
                let bob = Claim { claim_id, ..claims[(n + next) % claims.len()].clone() };
                let grant = key.granted(&bob).await;
                assert_kept(&key, &bob).await;
                expect_reply!(key.release(grant).await, ReleaseReply::Released);
            }
            let bob = Claim { claim_id: sentinel_core::ClaimId::random(), ..ann.clone() };
            key.granted(&bob).await;
            assert_kept(&key, &bob).await;
            context.advance(TTL).await;
            let eve = call("eve");
            key.granted(&eve).await;
            assert_kept(&key, &eve).await;
        }
        let key = context.execution(&format!("run {n}"));
        let ann = Claim { claim_id: sentinel_core::ClaimId::random(), ..ann.clone() };
        key.completed(&ann, &result("x")).await;
        assert_kept(&key, &ann).await;
        let key = context.execution(&format!("doubt {n}"));
        let ann = Claim { claim_id: sentinel_core::ClaimId::random(), ..ann };
        let doubt = key.abandoned(&ann).await;
        let token = key.taken(&reconcile("olga", doubt.token)).await;
        assert_kept(&key, &ann).await;
        expect_reply!(key.reset_to_claimed(&reset("olga", token)).await, ResetReply::Reset { .. });
        assert_kept(&key, &ann).await;
    }
}

/// A claim that is repeated with another cause, and a late duplicate of one, change nothing: the record keeps the cause
/// with which it was granted.
pub(crate) async fn a_repeated_claim_keeps_the_first_cause(context: &LawContext) {
    let (key, first, other) = (context.execution("k"), cause(context, "first"), cause(context, "other"));
    let (ann, again) = (because(&first), cause(context, "again"));
    let grant = key.granted(&ann).await;
    let repeated = Claim { cause: Some(other.clone()), about: None, ..ann.clone() };
    assert!(!key.claim(&repeated).await.stamp.changed);
    assert_kept(&key, &ann).await;
    expect_reply!(key.release(grant).await, ReleaseReply::Released);
    expect_reply!(key.claim(&repeated).await, ClaimReply::AlreadyReleased);
    assert_kept(&key, &ann).await;
    let bob = because(&again);
    key.granted(&bob).await;
    expect_reply!(key.claim(&repeated).await, ClaimReply::InProgress { .. });
    assert_kept(&key, &bob).await;
    assert_found(context, &by_root(&other), &[]).await;
    assert_found(context, &by_root(&again), &[&key]).await;
}

/// A claim that is refused leaves the cause of the record as it is, in each state.
pub(crate) async fn a_refused_claim_leaves_the_cause(context: &LawContext) {
    let (own, other) = (cause(context, "own"), cause(context, "other"));
    let ann = || because(&own);
    let claimed = context.execution("claimed");
    claimed.granted(&ann()).await;
    let lease = context.lease("held");
    lease.granted(&ann()).await;
    let executing = context.execution("executing");
    executing.begun(&ann()).await;
    let doubt = context.execution("doubt");
    doubt.abandoned(&ann()).await;
    let taken = context.execution("taken");
    let token = taken.abandoned(&ann()).await.token;
    taken.taken(&reconcile("olga", token)).await;
    let done = context.execution("done");
    done.completed(&ann(), &result("x")).await;
    let subjects = [&claimed, &done, &doubt, &executing, &taken, &lease];
    for key in subjects {
        let before = key.record().await;
        let reply = key.claim(&because(&other)).await;
        assert!(!reply.stamp.changed, "{reply:?}");
        key.assert_untouched_since(&before).await;
    }
    assert_found(context, &by_root(&other), &[]).await;
    assert_found(context, &by_root(&own), &subjects).await;
}

/// Neither cause nor text decides anything: a claim with others is replayed, is no mismatch, and its result is kept.
pub(crate) async fn a_cause_decides_nothing(context: &LawContext) {
    let (key, fingerprint) = (context.execution("k"), about("a"));
    let ann = Claim { fingerprint: fingerprint.clone(), ..because(&cause(context, "one")) };
    key.completed(&ann, &result("x")).await;
    for other in [None, Some(cause(context, "two")), Some(largest(context))] {
        let bob = Claim { cause: other, fingerprint: fingerprint.clone(), about: None, ..call("bob") };
        expect_reply!(key.claim(&bob).await, ClaimReply::Completed { result: got, .. } if got == result("x"));
    }
}

/// All records of a root, and all of a trace, are found: in all namespaces and of both kinds, in the order of their
/// addresses, page by page, without the bytes of their results.
pub(crate) async fn the_records_of_a_root_or_a_trace_are_found(context: &LawContext) {
    let (first, other, there) = (trace(), trace(), context.apart());
    let own = cause(context, "own").with_trace(first);
    let mut expected = Vec::new();
    for (n, apart) in [context, &there].into_iter().enumerate() {
        for key in ["b", "a/ü", "a", "B", "z z"] {
            let execution = apart.execution(key);
            execution.completed(&because(&own), &result("x")).await;
            let lease = apart.lease(key);
            lease.granted(&because(&own)).await;
            expected.extend([execution.address, lease.address]);
        }
        // Of the same root in another trace, and of another root in the same trace.
        apart.execution(&format!("trace {n}")).granted(&because(&own.clone().with_trace(other))).await;
        apart.execution("root").granted(&because(&cause(context, "other").with_trace(first))).await;
        apart.execution("none").granted(&call("bob")).await;
        apart.execution("about").granted(&Claim { about: Some(label("own")), ..call("bob") }).await;
    }
    let with = |name: &str| {
        let of = |apart: &LawContext| apart.execution(name).address;
        let mut all = expected.clone();
        all.extend([of(context), of(&there)]);
        all
    };
    let mut of_root = expected.clone();
    of_root.extend([context.execution("trace 0").address, there.execution("trace 1").address]);
    let mut of_trace = with("root");
    of_root.sort();
    of_trace.sort();
    let Some(survey) = context.survey() else { return };
    for limit in [1, 3, of_root.len() as u32, List::MAX] {
        let root = found(context, &survey, &by_root(&own), limit).await;
        same(&format!("the records of a root, {limit} a page"), &of_root, &root);
        let trace = found(context, &survey, &CauseQuery::Trace(first), limit).await;
        same(&format!("the records of a trace, {limit} a page"), &of_trace, &trace);
    }
    let after = page(&survey, &by_root(&own), of_root.last(), 5).await;
    assert!(after.records.is_empty(), "behind the last record: {after:?}");
    let last = context.subject(of_root.last().expect("there are many").clone()).record().await;
    assert!(after.now >= last.last_now, "an empty page has a reading of the clock, too");
    // Behind an address that has no record.
    let behind = Address { kind: Kind::Lease, key: Key::new("a0").expect("a key"), ..of_root[0].clone() };
    let rest = page(&survey, &by_root(&own), Some(&behind), List::MAX).await.records;
    let rest: Vec<Address> = rest.into_iter().map(|(address, _)| address).collect();
    same("the rest", &of_root.into_iter().filter(|address| *address > behind).collect::<Vec<_>>(), &rest);
}

/// Roots are compared byte by byte, and whole.
pub(crate) async fn roots_are_compared_byte_by_byte(context: &LawContext) {
    let roots = ["a", "A", "a b", "a%20b", "a+b", "a/", "é", "e\u{301}", "a_", "a%", "a\u{a0}"];
    let causes: Vec<Cause> = roots.iter().map(|name| cause(context, name)).collect();
    let keys: Vec<_> = (0..roots.len()).map(|n| context.execution(&format!("k{n}"))).collect();
    for (key, cause) in keys.iter().zip(&causes) {
        key.granted(&because(cause)).await;
    }
    for (key, cause) in keys.iter().zip(&causes) {
        assert_found(context, &by_root(cause), &[key]).await;
    }
    assert_found(context, &by_root(&cause(context, "")), &[]).await;
}

/// A record is found under the cause of its last claim alone: a claim with another cause moves it, and a claim without
/// one removes it. A record that becomes free is found still.
pub(crate) async fn a_record_is_found_by_its_last_claim_alone(context: &LawContext) {
    let (one, two) = (cause(context, "one").with_trace(trace()), cause(context, "two").with_trace(trace()));
    let in_trace = |cause: &Cause| CauseQuery::Trace(cause.trace().expect("it has one"));
    for key in [context.execution("k"), context.lease("k")] {
        let grant = key.granted(&because(&one)).await;
        expect_reply!(key.release(grant).await, ReleaseReply::Released);
        assert_found(context, &by_root(&one), &[&key]).await;
        key.granted(&because(&two)).await;
        assert_found(context, &by_root(&one), &[]).await;
        assert_found(context, &in_trace(&one), &[]).await;
        assert_found(context, &by_root(&two), &[&key]).await;
        context.advance(TTL).await;
        key.granted(&call("bob")).await;
        assert_found(context, &by_root(&two), &[]).await;
        assert_found(context, &in_trace(&two), &[]).await;
        context.advance(TTL).await;
        let grant = key.granted(&because(&one)).await;
        assert_found(context, &in_trace(&one), &[&key]).await;
        expect_reply!(key.release(grant).await, ReleaseReply::Released);
        key.granted(&call("eve")).await;
        assert_found(context, &by_root(&one), &[]).await;
    }
}

/// A purge removes a record from the records of its cause, and its next life is not found by it.
pub(crate) async fn a_purge_removes_a_record_from_the_records_of_its_cause(context: &LawContext) {
    let own = cause(context, "own").with_trace(trace());
    let traced = CauseQuery::Trace(own.trace().expect("it has one"));
    let (execution, lease, kept) = (context.execution("k"), context.lease("k"), context.execution("kept"));
    let short = Claim { retention: Some(KEPT), ..because(&own) };
    execution.completed(&short, &result("x")).await;
    let grant = lease.granted(&because(&own)).await;
    expect_reply!(lease.release(grant).await, ReleaseReply::Released);
    kept.completed(&because(&own), &result("x")).await;
    assert_found(context, &by_root(&own), &[&execution, &kept, &lease]).await;
    context.advance(KEPT + PURGE_REST * 2).await;
    assert_eq!(context.purge().await.records, 2);
    assert_found(context, &by_root(&own), &[&kept]).await;
    assert_found(context, &traced, &[&kept]).await;
    for key in [&execution, &lease] {
        same("the record", &Record::absent(), &key.record().await);
        key.granted(&call("bob")).await;
        assert_kept(key, &Claim { cause: None, about: None, ..call("bob") }).await;
    }
    assert_found(context, &traced, &[&kept]).await;
}

/// A record with the largest cause and the longest key is recorded whole and found, alone and behind an address as
/// long.
pub(crate) async fn a_record_with_the_largest_cause_is_found(context: &LawContext) {
    let (own, longest) = (largest(context), "€".repeat(170) + "x");
    let (first, last) = (context.execution(&longest), context.execution(&(longest.clone() + "y")));
    for key in [&first, &last] {
        let long = Label::new("ü".repeat(512)).expect("a label");
        let claim = Claim { about: Some(long.clone()), worker: long, ..because(&own) };
        key.granted(&claim).await;
        assert_kept(key, &claim).await;
    }
    assert_found(context, &by_root(&own), &[&first, &last]).await;
    assert_found(context, &CauseQuery::Trace(own.trace().expect("it has one")), &[&first, &last]).await;
    let Some(survey) = context.survey() else { return };
    let rest = page(&survey, &by_root(&own), Some(&first.address), 1).await.records;
    assert_eq!(rest.iter().map(|(address, _)| address).collect::<Vec<_>>(), [&last.address]);
}
