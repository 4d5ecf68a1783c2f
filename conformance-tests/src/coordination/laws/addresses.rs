//! Spec §2, addresses: three parts, compared byte by byte, never joined.

use sentinel_core::operation::*;
use sentinel_core::store::List;
use sentinel_core::{Address, Key, Kind, Namespace};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};
use crate::diff::assert_eq;

/// Each of these is a record of its own: all are granted, all are found again, and each completes with its own result.
async fn all_are_apart(keys: &[Subject<'_>]) {
    let mut grants = Vec::new();
    for (n, key) in keys.iter().enumerate() {
        grants.push(key.granted(&call(&format!("w{n}"))).await);
    }
    for (n, (key, grant)) in keys.iter().zip(grants).enumerate() {
        let record = key.record().await;
        assert_eq!((record.rev, record.worker), (1, Some(label(&format!("w{n}")))), "{:?}", key.address);
        assert_eq!(key.changes().await, ["claimed"]);
        expect_reply!(key.heartbeat(grant).await, HeartbeatReply::Kept { .. });
        expect_reply!(key.release(grant).await, ReleaseReply::Released);
    }
}

/// Namespace and key are never joined by a separator: what is before and after it is part of the address.
pub(crate) async fn namespace_and_key_are_never_joined(context: &LawContext) {
    let stem = context.namespace().as_str();
    let mut keys = Vec::new();
    for separator in [".", "-", "_"] {
        for (ns, key) in
            [("a", format!("b{separator}c")), ("b", "c".into()), ("", format!("a{separator}b{separator}c"))]
        {
            let ns = if ns == "b" {
                format!("{stem}{separator}a{separator}b")
            } else if ns.is_empty() {
                stem.into()
            } else {
                format!("{stem}{separator}{ns}")
            };
            keys.push(Address::execution(Namespace::new(ns).expect("short"), Key::new(key).expect("a key")));
        }
    }
    all_are_apart(&keys.into_iter().map(|address| context.subject(address)).collect::<Vec<_>>()).await;
}

/// A key may contain the separators that stores use.
pub(crate) async fn a_key_may_contain_any_separator(context: &LawContext) {
    let names = [
        "a:b", "a", "b", "a::b", "a/b", "a|b", "a,b", "a b", "a;b", "a#b", "a{b}", "{a}b", "a*b", "a?b",
        "a[b]",
    ];
    all_are_apart(&names.map(|name| context.execution(name))).await;
}

/// A lease on a key and an execution under it are two records: neither hides the other.
pub(crate) async fn an_execution_and_a_lease_of_one_key_are_two_records(context: &LawContext) {
    let (execution, lease) = (context.execution("k"), context.lease("k"));
    all_are_apart(&[execution.clone(), lease.clone()]).await;
    execution.completed(&call("ann"), &result("receipt")).await;
    let held = lease.granted(&call("bob")).await;
    expect_reply!(
        execution.claim(&call("eve")).await,
        ClaimReply::Completed { result: got, .. } if got == result("receipt")
    );
    lease.release(held).await;
    expect_reply!(lease.claim(&call("eve")).await, ClaimReply::Granted(_));
}

/// Two namespaces share nothing but the store.
pub(crate) async fn one_key_in_two_namespaces_is_two_records(context: &LawContext) {
    let (one, two) = (context.apart(), context.apart());
    all_are_apart(&[one.execution("k"), two.execution("k")]).await;
    assert_eq!(one.keys(&List { kind: Kind::Execution, ..one.everything() }).await, Vec::<String>::new());
}

/// Upper and lower case are different bytes, so they are different keys; so are leading and trailing spaces.
pub(crate) async fn keys_are_compared_byte_by_byte(context: &LawContext) {
    let names = [
        "key", "KEY", "Key", " key", "key ", "key  ", "0", "00", "0.0", "1e0", "1", "straße", "strasse",
        "STRASSE", "ı", "i",
    ];
    all_are_apart(&names.map(|name| context.execution(name))).await;
}

/// Two spellings of one letter are two keys: nothing is normalised.
pub(crate) async fn keys_are_not_normalised(context: &LawContext) {
    let names = [
        "\u{e9}",
        "e\u{301}",
        "\u{212b}",
        "\u{c5}",
        "A\u{30a}",
        "\u{fb01}",
        "fi",
        "\u{200b}",
        "\u{feff}",
        "a\u{200d}b",
        "ab",
    ];
    all_are_apart(&names.map(|name| context.execution(name))).await;
}

/// Quotes, wildcards, escapes and the words of query languages are only bytes.
pub(crate) async fn keys_are_never_interpreted(context: &LawContext) {
    let names = [
        "'",
        "\"",
        "`",
        "\\",
        "\\\\",
        "%",
        "_",
        "a%",
        "a_",
        "a\\_",
        "$1",
        "?",
        ":k",
        "@k",
        "--",
        "/*",
        "*/",
        "'; drop table records; --",
        "{\"a\":1}",
        "[1]",
        "null",
        "NULL",
        "true",
        "\\x00",
        "\\u0000",
        "%00",
        "&amp;",
        "../..",
        "..",
        ".",
        "~",
        "${HOME}",
        "$(id)",
        "KEYS[1]",
        "redis.call('flushall')",
        "EOF",
        "\u{1f512}",
        "𝕜",
    ];
    all_are_apart(&names.map(|name| context.execution(name))).await;
    assert_eq!(
        context
            .keys(&List { state: Some(sentinel_core::store::VisibleState::Free), ..context.everything() })
            .await
            .len(),
        names.len()
    );
}

/// The longest key and the longest namespace are kept whole: the last byte distinguishes two of them.
pub(crate) async fn the_longest_names_are_not_truncated(context: &LawContext) {
    let long = "k".repeat(Key::MAX_BYTES - 1);
    let wide = "😀".repeat(Key::MAX_BYTES / 4 - 1);
    let names =
        [format!("{long}a"), format!("{long}b"), long, format!("{wide}😀"), format!("{wide}😁"), wide];
    all_are_apart(&names.each_ref().map(|name| context.execution(name))).await;
    let stem = context.namespace().as_str();
    let room = |last: char| format!("{stem}{}{last}", "n".repeat(Namespace::MAX_BYTES - 1 - stem.len()));
    let subjects = ['a', 'b'].map(|last| {
        let namespace = Namespace::new(room(last)).expect("64 bytes");
        context.subject(Address::execution(namespace, Key::new("k").expect("a key")))
    });
    all_are_apart(&subjects).await;
}

/// Operations on one address change no other.
pub(crate) async fn an_operation_changes_one_record(context: &LawContext) {
    let (key, lease, next) = (context.execution("k"), context.lease("k"), context.execution("k2"));
    next.begun(&call("ann")).await;
    lease.granted(&call("ann")).await;
    let before = [(lease.record().await, lease.events().await), (next.record().await, next.events().await)];
    let doubt = key.abandoned(&call("bob")).await;
    let token = key.taken(&reconcile("olga", doubt.token)).await;
    key.reset_to_claimed(&reset("olga", token)).await;
    let grant = key.granted(&call("eve")).await;
    key.evict(&evict("olga", grant.token)).await;
    key.completed(&call("ann"), &result("x")).await;
    let after = [(lease.record().await, lease.events().await), (next.record().await, next.events().await)];
    assert_eq!(after, before);
}

/// A grant is valid for one address, and refused on another.
pub(crate) async fn a_grant_is_valid_for_one_address(context: &LawContext) {
    let (key, other) = (context.execution("k"), context.execution("other"));
    let grant = key.begun(&call("ann")).await;
    other.begun(&call("bob")).await;
    let before = other.record().await;
    expect_reply!(other.complete(grant, &result("x")).await, CompleteReply::Superseded(_));
    expect_reply!(other.heartbeat(grant).await, HeartbeatReply::Lost(LostReason::Superseded(_)));
    other.assert_untouched_since(&before).await;
}
