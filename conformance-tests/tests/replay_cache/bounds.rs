//! How much is remembered.

use bytes::Bytes;
use sentinel_client::ReplayLimits;
use sentinel_core::CoordinationStore as _;
use sentinel_core::operation::{ClaimReply, Complete};

use crate::harness::{DynHarness, begun, call, complete, key, result};

async fn fill(harness: &DynHarness, keys: u32, size: usize) {
    for n in 0..keys {
        complete(&harness.store, &key(&format!("k{n}")), &call(), &"x".repeat(size)).await;
        harness.replayed(&key(&format!("k{n}")), &call()).await;
    }
}

#[tokio::test]
async fn entries_are_bounded() {
    for entries in [2, 10, 100, 1_000] {
        let harness = DynHarness::with_limits(ReplayLimits { entries, ..ReplayLimits::default() });
        fill(&harness, 3 * entries as u32, 10).await;
        let kept = harness.cache.len();
        assert!(kept <= entries && kept * 2 >= entries, "{kept} of {entries}");
    }
}

#[tokio::test]
async fn bytes_are_bounded() {
    for entries in [ReplayLimits::default().entries, usize::MAX] {
        let (bytes, size) = (256 << 10, 8 << 10);
        let harness = DynHarness::with_limits(ReplayLimits { entries, bytes, ..ReplayLimits::default() });
        fill(&harness, 100, size).await;
        let kept = harness.cache.len();
        assert!(harness.cache.bytes() <= bytes as u64);
        assert!(kept * size <= bytes && kept * size >= bytes / 2, "{kept} results of {size} bytes");
    }
}

#[tokio::test]
async fn a_large_result_is_not_remembered() {
    let harness = DynHarness::with_limits(ReplayLimits { largest: 1_000, ..ReplayLimits::default() });
    for (name, size, asked) in [("at the limit", 1_000, 1), ("over it", 1_001, 3)] {
        complete(&harness.store, &key(name), &call(), &"x".repeat(size)).await;
        for _ in 0..2 {
            assert_eq!(harness.replayed(&key(name), &call()).await.unwrap().len(), size);
        }
        assert_eq!(harness.asked(), asked);
    }
    let through = key("through the cache");
    complete(&*harness.cache, &through, &call(), &"x".repeat(1_001)).await;
    assert_eq!(harness.cache.len(), 1, "nor does its run keep an entry");
}

#[tokio::test]
async fn nothing_is_remembered_where_there_is_no_room() {
    for limits in [
        ReplayLimits { entries: 0, ..ReplayLimits::default() },
        ReplayLimits { bytes: 0, ..ReplayLimits::default() },
    ] {
        let harness = DynHarness::with_limits(limits);
        fill(&harness, 3, 10).await;
        assert!(harness.cache.is_empty());
        assert!(harness.cache.claim(&key("k0"), &call()).await.is_ok());
    }
}

#[tokio::test]
async fn a_kept_result_does_not_keep_what_it_was_read_from() {
    // A store hands out parts of one large buffer.
    let whole = Bytes::from(vec![7; 1 << 20]);
    let part = whole.slice(0..10);
    let harness = DynHarness::new();
    let claim = call();
    let k = key("k");
    let grant = begun(&harness.store, &k, &claim).await;
    let mut result = result("");
    result.payload.bytes = part;
    harness.store.complete(&k, &Complete { grant, result }).await.unwrap();
    let reply = harness.cache.claim(&k, &call()).await.unwrap().reply;
    let again = harness.cache.claim(&k, &call()).await.unwrap().reply;
    let at = |reply: &ClaimReply| match reply {
        ClaimReply::Completed { result, .. } => result.payload.bytes.as_ptr(),
        other => panic!("{other:?}"),
    };
    assert_eq!(at(&reply), whole.as_ptr(), "the store's reply is a part of its buffer");
    assert_ne!(at(&again), whole.as_ptr());
}
