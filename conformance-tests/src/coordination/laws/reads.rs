//! Spec §3, inspect, list and history: pure reads.

use std::time::Duration;

use sentinel_core::operation::*;
use sentinel_core::store::{List, VisibleState};
use sentinel_core::{Key, Kind, State};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};
use crate::diff::assert_eq;

/// Reads the keys of one shown state.
async fn shown(context: &LawContext, state: Option<VisibleState>) -> Vec<String> {
    context.keys(&List { state, ..context.everything() }).await
}

/// Reading an absent key is not an error.
pub(crate) async fn reading_an_absent_key_is_not_an_error(context: &LawContext) {
    for key in [context.execution("k"), context.lease("k")] {
        let inspection = context.store().inspect(&key.address).await.expect("a reply");
        assert_eq!(inspection.record, None);
        assert_eq!(key.events().await, []);
    }
    assert_eq!(context.keys(&context.everything()).await, Vec::<String>::new());
}

/// Reads change nothing: neither record nor history, live or lapsed; no background task rewrites records.
pub(crate) async fn reads_change_nothing(context: &LawContext) {
    let key = context.execution("k");
    key.begun(&call("ann")).await;
    let (record, events) = (key.record().await, key.events().await);
    for _ in 0..2 {
        context.advance(HARD).await;
        context.list(&context.everything()).await;
        assert_eq!((key.record().await, key.events().await), (record.clone(), events.clone()));
    }
}

/// A read returns the record of the last stamp, and `now` is the store's clock.
pub(crate) async fn a_read_follows_the_write_before_it(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.granted(&call("ann")).await;
    context.advance(HALF).await;
    let stamp = key.begin(grant).await.stamp;
    let inspection = context.store().inspect(&key.address).await.expect("a reply");
    let record = inspection.record.expect("a record");
    assert_eq!((record.rev, record.token, record.state), (stamp.rev, stamp.token, stamp.state));
    assert!(record.last_now == stamp.now && inspection.now >= stamp.now);
    context.advance(HARD).await;
    assert!(key.now().await >= stamp.now.plus(HARD), "the clock of a read is the store's");
}

/// Keys are in byte order, whatever letters they have.
pub(crate) async fn a_page_is_in_byte_order(context: &LawContext) {
    let mut names =
        ["b", "B", "a", "Z", "é", "z", "e\u{301}", "ß", "😀", "\u{ffff}", "a b", "a-b", "10", "9", "_", "ä"];
    for name in names {
        context.execution(name).granted(&call("ann")).await;
    }
    names.sort_unstable_by_key(|name| name.as_bytes());
    assert_eq!(context.keys(&context.everything()).await, names);
}

/// Pages of any size list each key once, in order.
pub(crate) async fn pages_have_no_gap_and_no_overlap(context: &LawContext) {
    let names: Vec<String> = (0..23).map(|n| format!("k{n:02}")).collect();
    for name in names.iter().rev() {
        context.execution(name).granted(&call("ann")).await;
    }
    for limit in [1, 4, 23, 1000] {
        let (mut got, mut after) = (Vec::new(), None);
        loop {
            let page = context.keys(&List { limit, after, ..context.everything() }).await;
            assert!(page.len() <= limit as usize, "a page keeps to its limit");
            let Some(last) = page.last() else { break };
            after = Some(Key::new(last).expect("a key"));
            got.extend(page);
            assert!(got.len() <= names.len(), "a page begins before the end of the one before it");
        }
        assert_eq!(got, names);
    }
}

/// `after` is a position in the order, not a record: it need not exist.
pub(crate) async fn a_page_can_start_between_keys(context: &LawContext) {
    for name in ["a", "c", "😀"] {
        context.execution(name).granted(&call("ann")).await;
    }
    let from = |key: &str| List { after: Some(Key::new(key).expect("a key")), ..context.everything() };
    assert_eq!(context.keys(&from("b")).await, ["c", "😀"]);
    assert_eq!(context.keys(&from("c")).await, ["😀"]);
    assert_eq!(context.keys(&from("\u{ffff}")).await, ["😀"]);
}

/// Each state has a filter, uncertain is distinguished from executing, and tombstones are listed only on request.
pub(crate) async fn a_page_is_filtered_by_state(context: &LawContext) {
    let at = |name: &str| context.execution(name);
    at("claimed").granted(&call("ann")).await;
    at("uncertain").abandoned(&call("ann")).await;
    at("done").completed(&call("ann"), &result("x")).await;
    let freed = at("free").granted(&call("ann")).await;
    at("free").release(freed).await;
    let doubt = at("held").abandoned(&call("ann")).await;
    at("held").taken(&reconcile("olga", doubt.token)).await;
    at("running").begun(&call("ann")).await;
    assert_eq!(shown(context, Some(VisibleState::Claimed)).await, ["claimed"]);
    assert_eq!(shown(context, Some(VisibleState::Executing)).await, ["running"]);
    assert_eq!(shown(context, Some(VisibleState::Uncertain)).await, ["uncertain"]);
    assert_eq!(shown(context, Some(VisibleState::Completed)).await, ["done"]);
    assert_eq!(shown(context, Some(VisibleState::Reconciling)).await, ["held"]);
    assert_eq!(shown(context, Some(VisibleState::Free)).await, ["free"]);
    assert_eq!(shown(context, None).await, ["claimed", "done", "held", "running", "uncertain"]);
}

/// A lapsed execution is listed as uncertain without any request; a lapsed claim stays claimed.
pub(crate) async fn a_page_computes_expiry_when_it_is_read(context: &LawContext) {
    context.execution("claimed").granted(&call("ann")).await;
    context.execution("running").begun(&call("ann")).await;
    assert_eq!(shown(context, Some(VisibleState::Uncertain)).await, Vec::<String>::new());
    context.advance(TTL).await;
    assert_eq!(shown(context, Some(VisibleState::Executing)).await, Vec::<String>::new());
    assert_eq!(shown(context, Some(VisibleState::Uncertain)).await, ["running"]);
    assert_eq!(shown(context, Some(VisibleState::Claimed)).await, ["claimed"]);
}

/// The limit counts the records that are listed, not those that are skipped.
pub(crate) async fn a_filtered_page_is_filled_up_to_its_limit(context: &LawContext) {
    for n in 0..20 {
        let key = context.execution(&format!("k{n:02}"));
        let grant = key.granted(&call("ann")).await;
        if n % 5 == 4 {
            key.begin(grant).await;
        }
    }
    let list = List { state: Some(VisibleState::Executing), limit: 3, ..context.everything() };
    assert_eq!(context.keys(&list).await, ["k04", "k09", "k14"]);
}

/// The bytes of results are left out of a page; all else is the record.
pub(crate) async fn a_page_leaves_out_the_bytes_of_results(context: &LawContext) {
    let key = context.execution("k");
    key.completed(&call("ann"), &result("a large receipt")).await;
    let mut record = key.record().await;
    record.result.as_mut().expect("a result").payload.bytes = Default::default();
    let page = context.list(&context.everything()).await;
    assert_eq!(page.records, [(key.address.key.clone(), record)]);
}

/// Executions and leases, and namespaces, are listed apart.
pub(crate) async fn a_page_lists_only_its_kind_and_namespace(context: &LawContext) {
    let other = context.apart();
    context.execution("execution").granted(&call("ann")).await;
    context.lease("lease").granted(&call("ann")).await;
    other.execution("elsewhere").granted(&call("ann")).await;
    assert_eq!(context.keys(&context.everything()).await, ["execution"]);
    assert_eq!(context.keys(&List { kind: Kind::Lease, ..context.everything() }).await, ["lease"]);
}

/// A purged key is not listed, under any filter.
pub(crate) async fn a_purged_key_is_not_listed(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.granted(&call("ann")).await;
    key.release(grant).await;
    context.advance(REST).await;
    context.purge().await;
    for state in [None, Some(VisibleState::Free)] {
        assert_eq!(shown(context, state).await, Vec::<String>::new());
    }
}

/// History is the newest events, oldest first, without a gap.
pub(crate) async fn a_history_has_the_newest_events_oldest_first(context: &LawContext) {
    let key = context.execution("k");
    for n in 0..4 {
        let grant = key.granted(&call(&format!("w{n}"))).await;
        expect_reply!(key.release(grant).await, ReleaseReply::Released);
    }
    let all = key.events().await;
    assert_eq!(all.len(), 8);
    assert!(all.is_sorted_by_key(|event| event.rev));
    for limit in [1, 3, 8, 100] {
        let newest = key.newest_events(limit).await;
        assert_eq!(newest, all[all.len().saturating_sub(limit as usize)..]);
    }
}

/// Waits for a change, which ends without one.
async fn wait(context: &LawContext, key: &Subject<'_>, within: Duration) {
    let waiting = context.store().changed(&key.address, within);
    tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("a wait ends when its time is over");
}

/// A wait for a change ends at its timeout though nothing changes, whatever it waits for. It may end earlier.
pub(crate) async fn a_wait_for_a_change_ends_at_its_timeout(context: &LawContext) {
    context.execution("running").begun(&call("ann")).await;
    context.lease("held").granted(&call("ann")).await;
    for key in [context.execution("absent"), context.execution("running"), context.lease("held")] {
        for within in [Duration::ZERO, Duration::from_millis(2)] {
            wait(context, &key, within).await;
        }
    }
}

/// Waiting for a change makes none: neither record nor history, live or lapsed.
pub(crate) async fn a_wait_for_a_change_changes_nothing(context: &LawContext) {
    let (key, absent) = (context.execution("k"), context.execution("absent"));
    key.begun(&call("ann")).await;
    let (record, events) = (key.record().await, key.events().await);
    for _ in 0..2 {
        wait(context, &key, Duration::from_millis(1)).await;
        wait(context, &absent, Duration::from_millis(1)).await;
        assert_eq!((key.record().await, key.events().await), (record.clone(), events.clone()));
        assert_eq!(absent.events().await, []);
        context.advance(HARD).await;
    }
}

/// While a caller waits for a change, other requests are applied at once, and a wait that is dropped leaves nothing
/// behind.
pub(crate) async fn a_wait_for_a_change_delays_no_other_request(context: &LawContext) {
    let key = context.execution("k");
    let grant = key.begun(&call("ann")).await;
    let mut waiting = Box::pin(context.store().changed(&key.address, HARD * 1_000));
    // Polled, so that it waits.
    let _ = tokio::time::timeout(Duration::ZERO, &mut waiting).await;
    expect_reply!(key.complete(grant, &result("x")).await, CompleteReply::Recorded { .. });
    drop(waiting);
    assert_eq!(key.record().await.state, State::Completed);
}

/// The store returns the same description each time, and its health accepts the deployment that it is tested on.
pub(crate) async fn the_store_returns_its_description_and_its_health(context: &LawContext) {
    assert!(!context.store().describe().backend.is_empty());
    assert_eq!(context.store().describe(), context.store().describe());
    let health = context.store().health().await.expect("the store is there");
    assert!(health.accepted, "the deployment under test is refused: {health:?}");
    assert!(!health.deployment.is_empty() && !health.guarantees.is_empty());
}
