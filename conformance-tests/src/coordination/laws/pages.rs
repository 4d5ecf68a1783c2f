//! Spec §3, list and history: long pages, filters that skip many records, and pages that start between keys.

use sentinel_core::kernel::Op;
use sentinel_core::operation::*;
use sentinel_core::store::{List, VisibleState};
use sentinel_core::{Address, Grant, Key, Kind, Payload, RecordedResult};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::LawContext;
use crate::diff::{assert_eq, same};

/// More records than any one page holds.
const MANY: usize = List::MAX as usize + 57;

/// Claims many executions of the context's namespace, `k0000` on.
async fn many(context: &LawContext) -> Vec<(Address, Grant)> {
    let claims: Vec<(Address, Claim)> =
        (0..MANY).map(|n| (context.execution(&format!("k{n:04}")).address, call("ann"))).collect();
    let sent = claims.iter().map(|(address, claim)| (address.clone(), Op::from(claim.clone())));
    let replies = context.each(sent.collect()).await;
    let grant = |((address, claim), reply): ((Address, Claim), Stamped<_>)| {
        (address, Grant { token: reply.stamp.token, claim_id: claim.claim_id })
    };
    claims.into_iter().zip(replies).map(grant).collect()
}

/// The keys of all pages of some size, one after the other.
async fn page_by_page(context: &LawContext, list: &List) -> Vec<String> {
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let page = context.keys(&List { after, ..list.clone() }).await;
        assert!(page.len() <= list.limit as usize, "a page of {} over its limit {}", page.len(), list.limit);
        let Some(last) = page.last() else { return keys };
        after = Some(key(last));
        keys.extend(page);
        assert!(keys.len() <= MANY, "the pages have no end");
    }
}

/// The largest page is whole, and the pages of a long list have all of it.
pub(crate) async fn a_long_list_is_read_page_by_page(context: &LawContext) {
    let held = many(context).await;
    let names: Vec<String> = held.iter().map(|(address, _)| address.key.as_str().to_owned()).collect();
    let largest = context.keys(&context.everything()).await;
    same("the largest page", &names[..List::MAX as usize].to_vec(), &largest);
    same("all pages", &names, &page_by_page(context, &List { limit: 700, ..context.everything() }).await);
}

/// A filter skips any number of records: one record after many that do not match is found, under every filter.
pub(crate) async fn a_filter_skips_any_number_of_records(context: &LawContext) {
    let mut held = many(context).await;
    let (last, grant) = held.pop().expect("many");
    let (before, early) = held.pop().expect("many");
    let (last, before) = (context.subject(last), context.subject(before));
    last.begin(grant).await;
    let one = |state| List { state: Some(state), limit: 1, ..context.everything() };
    let name = vec![last.address.key.as_str().to_owned()];
    same("the executing one", &name, &context.keys(&one(VisibleState::Executing)).await);
    last.abandon(grant, "lost contact").await;
    same("the uncertain one", &name, &context.keys(&one(VisibleState::Uncertain)).await);
    let token = last.taken(&reconcile("olga", grant.token)).await;
    same("the reconciling one", &name, &context.keys(&one(VisibleState::Reconciling)).await);
    last.force_complete(&force("olga", token, &result("x"))).await;
    same("the completed one", &name, &context.keys(&one(VisibleState::Completed)).await);
    before.release(early).await;
    let free = vec![before.address.key.as_str().to_owned()];
    same("the tombstone", &free, &context.keys(&one(VisibleState::Free)).await);
    let releases =
        held.into_iter().map(|(address, grant)| (address, Release { grant, vouched: false }.into()));
    context.each(releases.collect()).await;
    let unfiltered = List { limit: 1, ..context.everything() };
    same("the one that is no tombstone", &name, &context.keys(&unfiltered).await);
    same("nothing that is claimed", &vec![], &context.keys(&one(VisibleState::Claimed)).await);
}

/// Keys whose order is another one in collations, in UTF-16, in signed bytes, by length and by number.
const ODD: [&str; 44] = [
    "!", "\"", "%", "'", "*", "-", "-1", "/", "0", "00", "1", "10", "1a", "2", "9", ":", "A", "B", "Z", "[",
    "\\", "_", "_a", "a", "a b", "a-b", "aa", "ab", "a\u{301}", "b", "z", "zz", "{", "|", "~", "\u{a0}", "é",
    "ß", "ä", "ÿ", "\u{2028}", "\u{e000}", "\u{ffff}", "😀",
];

/// A page can start after any key, in byte order, whether the key exists or not.
pub(crate) async fn a_page_can_start_after_any_key(context: &LawContext) {
    let mut names: Vec<String> = ODD.iter().map(|&name| name.to_owned()).collect();
    let long = "m".repeat(Key::MAX_BYTES - 1);
    names.extend([format!("{long}a"), format!("{long}b"), long]);
    let claims = names.iter().map(|name| (context.execution(name).address, call("ann").into()));
    context.each(claims.collect()).await;
    names.sort_unstable();
    let between =
        ["\u{20}", "$", "00 ", "1\u{ffff}", "aZ", "é\u{301}", "\u{d7ff}", "😁", "%%", "a\\", "mm", "n", "I"];
    let places = names.clone().into_iter().chain(between.map(str::to_owned));
    for place in places {
        let behind = names.iter().filter(|name| **name > place);
        let expected: Vec<String> = behind.take(3).cloned().collect();
        let list = List { after: Some(key(&place)), limit: 3, ..context.everything() };
        same(&format!("the page after {place:?}"), &expected, &context.keys(&list).await);
    }
}

/// A page can start after a key that is a tombstone, was purged, or exists only in another namespace or of another
/// kind.
pub(crate) async fn a_page_can_start_after_a_key_that_it_does_not_list(context: &LawContext) {
    let other = context.apart();
    let at = |name: &str| context.execution(name);
    for name in ["purged", "tombstone"] {
        let grant = at(name).granted(&call("ann")).await;
        at(name).release(grant).await;
        if name == "purged" {
            context.advance(REST).await;
            assert_eq!(context.purge().await.records, 1);
        }
    }
    for name in ["a", "m", "q", "u", "z"] {
        at(name).granted(&call("ann")).await;
    }
    context.lease("l").granted(&call("ann")).await;
    other.execution("o").granted(&call("ann")).await;
    let cases = [
        ("purged", vec!["q", "u", "z"]),
        ("tombstone", vec!["u", "z"]),
        ("l", vec!["m", "q", "u", "z"]),
        ("o", vec!["q", "u", "z"]),
        ("A", vec!["a", "m", "q", "u", "z"]),
        ("z", vec![]),
        ("zz", vec![]),
    ];
    for (after, expected) in cases {
        let list = List { after: Some(key(after)), ..context.everything() };
        let expected = expected.into_iter().map(str::to_owned).collect();
        same(&format!("the page after {after:?}"), &expected, &context.keys(&list).await);
    }
}

/// A filter, a start and a limit apply together, for both kinds: a page starts after its key and has only records that
/// match.
pub(crate) async fn a_page_applies_filter_start_and_limit_together(context: &LawContext) {
    let state_of = |n: usize| {
        [
            VisibleState::Claimed,
            VisibleState::Free,
            VisibleState::Executing,
            VisibleState::Completed,
            VisibleState::Uncertain,
        ][n % 5]
    };
    for n in 0..20_usize {
        let (key, lease) = (context.execution(&format!("k{n:02}")), context.lease(&format!("k{n:02}")));
        let held = lease.granted(&call("ann")).await;
        if n.is_multiple_of(2) {
            lease.release(held).await;
        }
        let grant = key.granted(&call("ann")).await;
        match state_of(n) {
            VisibleState::Free => expect_reply!(key.release(grant).await, ReleaseReply::Released),
            VisibleState::Executing => expect_reply!(key.begin(grant).await, BeginReply::Begun(_)),
            VisibleState::Completed => {
                key.begin(grant).await;
                key.complete(grant, &result("x")).await;
            }
            VisibleState::Uncertain => {
                key.begin(grant).await;
                key.abandon(grant, "lost contact").await;
            }
            _ => {}
        }
    }
    let names = |wanted: &dyn Fn(usize) -> bool, from: usize, limit: usize| -> Vec<String> {
        (from + 1..20).filter(|n| wanted(*n)).take(limit).map(|n| format!("k{n:02}")).collect()
    };
    for from in [0, 3, 4, 9, 17, 19] {
        for limit in [1, 2, 1_000] {
            let page = |kind, state| {
                let after = Some(key(&format!("k{from:02}")));
                List { kind, state: Some(state), after, limit: limit as u32, ..context.everything() }
            };
            for n in 0..5 {
                let (state, wanted) = (state_of(n), |m: usize| m % 5 == n);
                let got = context.keys(&page(Kind::Execution, state)).await;
                same(
                    &format!("{limit} executions, {state:?}, after {from}"),
                    &names(&wanted, from, limit),
                    &got,
                );
            }
            for (state, free) in [(VisibleState::Free, true), (VisibleState::Claimed, false)] {
                let wanted = |m: usize| m.is_multiple_of(2) == free;
                let got = context.keys(&page(Kind::Lease, state)).await;
                same(&format!("{limit} leases, {state:?}, after {from}"), &names(&wanted, from, limit), &got);
            }
        }
    }
}

/// A limit counts the records of its namespace and kind only: others do not use it up.
pub(crate) async fn a_limit_counts_only_the_namespace_and_kind_of_its_page(context: &LawContext) {
    let rooms = [context.apart(), context.apart()];
    let others = rooms.iter().flat_map(|room| [room.execution("k"), room.lease("k")]);
    let others: Vec<_> = others.map(|subject| subject.address).collect();
    let named = |address: &Address, n: usize| Address { key: key(&format!("k{n:02}")), ..address.clone() };
    let claims =
        (0..40).flat_map(|n| others.iter().map(move |address| (named(address, n), call("ann").into())));
    context.each(claims.collect()).await;
    context
        .each((0..40).map(|n| (context.lease(&format!("k{n:02}")).address, call("ann").into())).collect())
        .await;
    context.execution("x").granted(&call("ann")).await;
    context.execution("y").granted(&call("ann")).await;
    let list = |limit| List { limit, ..context.everything() };
    same("the first", &vec!["x".to_owned()], &context.keys(&list(1)).await);
    same("both", &vec!["x".to_owned(), "y".to_owned()], &context.keys(&list(2)).await);
    let leases = List { kind: Kind::Lease, limit: 1, after: Some(key("k38")), ..context.everything() };
    same("the last lease", &vec!["k39".to_owned()], &context.keys(&leases).await);
}

/// A page shows each record as an inspect does, in every state and with every field, without the bytes of its result.
pub(crate) async fn a_page_shows_each_record_in_full(context: &LawContext) {
    let at = |name: &str| context.execution(name);
    let ann = || Claim { fingerprint: about("a request"), retention: Some(KEPT), ..call("ann") };
    at("claimed").granted(&ann()).await;
    at("running").begun(&ann()).await;
    at("uncertain").abandoned(&ann()).await;
    let failed = RecordedResult::failure(Some(-7), Payload::new("text/x-odd; a=\"b\"", "declined"));
    at("failed").completed(&ann(), &failed).await;
    let freed = at("free").granted(&ann()).await;
    at("free").evict(&evict("olga", freed.token)).await;
    for name in ["held", "forced"] {
        let doubt = at(name).abandoned(&ann()).await;
        let token = at(name).taken(&reconcile("olga", doubt.token)).await;
        if name == "forced" {
            at(name).force_complete(&force("olga", token, &failed)).await;
        }
    }
    for state in [
        None,
        Some(VisibleState::Free),
        Some(VisibleState::Completed),
        Some(VisibleState::Uncertain),
        Some(VisibleState::Reconciling),
    ] {
        let before = at("held").now().await;
        let page = context.list(&List { state, ..context.everything() }).await;
        let after = at("held").now().await;
        assert!(
            before <= page.now && page.now <= after,
            "a page read {:?} between {before:?} and {after:?}",
            page.now
        );
        assert!(!page.records.is_empty(), "a page of {state:?}");
        for (key, listed) in page.records {
            let mut record = context.execution(key.as_str()).record().await;
            if let Some(result) = &mut record.result {
                result.payload.bytes = Default::default();
            }
            same(&format!("the record of {key} on a page"), &record, &listed);
        }
    }
}

/// After each transition, and when time alone has moved on, a record is on the page of its state and on no other.
pub(crate) async fn a_record_is_on_the_page_of_its_state_only(context: &LawContext) {
    let key = context.execution("k");
    let is_on = async |shown: Option<VisibleState>, after: &str| {
        for state in STATES {
            let page = context.keys(&List { state: Some(state), ..context.everything() }).await;
            assert_eq!(
                page.len(),
                usize::from(shown == Some(state)),
                "on the page of {state:?} after {after}"
            );
        }
        let is_listed = shown.is_some_and(|shown| shown != VisibleState::Free);
        assert_eq!(
            context.keys(&context.everything()).await.len(),
            usize::from(is_listed),
            "on a page after {after}"
        );
    };
    is_on(None, "nothing").await;
    key.cancel(call("ann").claim_id).await;
    is_on(Some(VisibleState::Free), "a cancel").await;
    let grant = key.granted(&call("ann")).await;
    is_on(Some(VisibleState::Claimed), "a claim").await;
    key.release(grant).await;
    is_on(Some(VisibleState::Free), "a release").await;
    key.granted(&call("ann")).await;
    context.advance(TTL).await;
    is_on(Some(VisibleState::Claimed), "a lapse").await;
    let grant = key.granted(&call("bob")).await;
    is_on(Some(VisibleState::Claimed), "a take-over").await;
    key.evict(&evict("olga", grant.token)).await;
    is_on(Some(VisibleState::Free), "an eviction").await;
    let grant = key.begun(&call("ann")).await;
    is_on(Some(VisibleState::Executing), "a begin").await;
    context.advance(TTL).await;
    is_on(Some(VisibleState::Uncertain), "a lapse").await;
    key.heartbeat(grant).await;
    is_on(Some(VisibleState::Executing), "a heartbeat").await;
    key.vouch(grant).await;
    is_on(Some(VisibleState::Free), "a vouched release").await;
    let grant = key.granted(&fused("ann")).await;
    is_on(Some(VisibleState::Executing), "a fused claim").await;
    key.abandon(grant, "lost contact").await;
    is_on(Some(VisibleState::Uncertain), "an abandon").await;
    let token = key.taken(&reconcile("olga", grant.token)).await;
    is_on(Some(VisibleState::Reconciling), "a reconciliation").await;
    let token = key.taken(&Reconcile { steal: true, ..reconcile("omar", token) }).await;
    is_on(Some(VisibleState::Reconciling), "a steal").await;
    key.reset_to_claimed(&reset("omar", token)).await;
    is_on(Some(VisibleState::Free), "a reset").await;
    let grant = key.granted(&Claim { retention: Some(HALF), ..fused("ann") }).await;
    key.complete(grant, &result("x")).await;
    is_on(Some(VisibleState::Completed), "a completion").await;
    context.advance(HALF).await;
    is_on(Some(VisibleState::Completed), "the end of a retention").await;
    let doubt = key.abandoned(&call("bob")).await;
    is_on(Some(VisibleState::Uncertain), "another run").await;
    let token = key.taken(&reconcile("olga", doubt.token)).await;
    key.force_complete(&force("olga", token, &result("x"))).await;
    is_on(Some(VisibleState::Completed), "a forced result").await;
    let other = context.execution("z");
    let grant = other.granted(&call("ann")).await;
    other.release(grant).await;
    context.advance(REST).await;
    context.purge().await;
    is_on(Some(VisibleState::Completed), "the purge of another key").await;
}

/// A history counts and returns the events of its own address only.
pub(crate) async fn a_history_has_only_events_of_its_address(context: &LawContext) {
    let other = context.apart();
    let keys = [
        context.execution("k"),
        context.lease("k"),
        context.execution("k1"),
        context.execution("K"),
        other.execution("k"),
    ];
    for turn in 0..4 {
        for (n, subject) in keys.iter().enumerate() {
            let grant = subject.granted(&call(&format!("w{n}"))).await;
            if turn < 3 {
                subject.release(grant).await;
            }
        }
    }
    for (n, subject) in keys.iter().enumerate() {
        for limit in [0, 1, 3, 7, 100] {
            let events = subject.newest_events(limit).await;
            assert_eq!(events.len(), (limit as usize).min(7), "events of {}", subject.address);
            let worker = Some(label(&format!("w{n}")));
            assert!(events.iter().all(|event| event.worker == worker), "{}: {events:?}", subject.address);
            assert!(events.is_sorted_by(|a, b| a.rev + 1 == b.rev), "{}: {events:?}", subject.address);
        }
    }
}

/// A reading is never before the record's last one: with a clock that was set back, an uncertain execution is not
/// listed as live. Without `set_back` this law is not checked.
pub(crate) async fn a_page_is_never_read_before_the_last_reading(context: &LawContext) {
    let key = context.execution("k");
    context.advance(TTL).await;
    key.abandoned(&call("ann")).await;
    if !context.set_back(TTL).await {
        return;
    }
    let last = key.record().await.last_now;
    assert!(key.now().await >= last, "an inspect reads a clock before {last}, the record's last reading");
    expect_reply!(key.claim(&call("bob")).await, ClaimReply::Uncertain { .. });
    for (state, expected) in
        [(VisibleState::Uncertain, vec!["k".to_owned()]), (VisibleState::Executing, vec![])]
    {
        let list = List { state: Some(state), ..context.everything() };
        same(&format!("the page of {state:?}"), &expected, &context.keys(&list).await);
    }
}
