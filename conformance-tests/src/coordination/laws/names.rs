//! Spec §2, addresses: whatever a store may fold, cut, hash, match or join, each name is a record of its own.

use sentinel_core::kernel::Reply;
use sentinel_core::operation::*;
use sentinel_core::store::{List, VisibleState};
use sentinel_core::{Address, ClaimId, Grant, Key, Kind, Namespace, OpId};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};
use crate::diff::{assert_eq, same};

/// Executions in the context's namespace.
fn executions(context: &LawContext, names: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<Address> {
    names.into_iter().map(|name| context.execution(name.as_ref()).address).collect()
}

/// Each address has its own record: claims, reads, heartbeats, pages, releases and purges of one do not affect another.
/// Names that a store may confuse are used together: of two, the first is released and purged, the second stays.
async fn all_are_apart(context: &LawContext, addresses: &[Address]) {
    let claims: Vec<_> = (0..addresses.len()).map(|n| call(&format!("w{n}"))).collect();
    let mut grants = Vec::new();
    for (address, claim) in addresses.iter().zip(&claims) {
        let reply = context.subject(address.clone()).claim(claim).await;
        let granted = matches!(reply.reply, ClaimReply::Granted(_)) && reply.stamp.rev == 1;
        assert!(granted, "{address} is the first grant of another record too: {reply:?}");
        grants.push(Grant { token: reply.stamp.token, claim_id: claim.claim_id });
    }
    let subjects: Vec<Subject<'_>> =
        addresses.iter().map(|address| context.subject(address.clone())).collect();
    for (subject, claim) in subjects.iter().zip(&claims) {
        let record = subject.record().await;
        same(&format!("worker of {}", subject.address), &Some(claim.worker.clone()), &record.worker);
        same(&format!("events of {}", subject.address), &vec!["claimed"], &subject.changes().await);
    }
    let beats = addresses.iter().zip(&grants);
    let beats: Vec<_> =
        beats.map(|(address, grant)| Beat { address: address.clone(), grant: *grant }).collect();
    for (beat, stamped) in beats.iter().zip(context.beats(&beats).await) {
        let is_kept = matches!(stamped.reply, HeartbeatReply::Kept { .. });
        assert!(is_kept && stamped.stamp.token == beat.grant.token, "{}: {stamped:?}", beat.address);
    }
    pages_hold(context, addresses, VisibleState::Claimed, |_| true).await;
    for (subject, grant) in subjects.iter().zip(&grants).step_by(2) {
        expect_reply!(subject.release(*grant).await, ReleaseReply::Released);
    }
    pages_hold(context, addresses, VisibleState::Free, |n| n.is_multiple_of(2)).await;
    pages_hold(context, addresses, VisibleState::Claimed, |n| !n.is_multiple_of(2)).await;
    context.advance(REST).await;
    for namespace in namespaces(addresses) {
        let here = |(n, address): &(usize, &Address)| n.is_multiple_of(2) && address.namespace == namespace;
        let going = addresses.iter().enumerate().filter(here).count() as u64;
        let purged = context.purge_of(&namespace, u32::MAX, false).await;
        assert_eq!(purged.records, going, "of namespace {namespace:?}");
    }
    for (n, (subject, grant)) in subjects.iter().zip(grants).enumerate() {
        let changes: &[_] = if n.is_multiple_of(2) { &["purged"] } else { &["claimed"] };
        same(&format!("events of {}", subject.address), &changes.to_vec(), &subject.changes().await);
        let record = subject.record().await;
        let claim_id = (n % 2 == 1).then_some(grant.claim_id);
        same(&format!("claim_id of {} after a purge", subject.address), &claim_id, &record.claim_id);
    }
    pages_hold(context, addresses, VisibleState::Free, |_| false).await;
    pages_hold(context, addresses, VisibleState::Claimed, |n| !n.is_multiple_of(2)).await;
}

/// The namespaces of some addresses, each once.
fn namespaces(addresses: &[Address]) -> Vec<Namespace> {
    let mut all: Vec<_> = addresses.iter().map(|address| address.namespace.clone()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The pages of each namespace and kind hold exactly some of the addresses, in byte order.
async fn pages_hold(
    context: &LawContext,
    addresses: &[Address],
    state: VisibleState,
    which: impl Fn(usize) -> bool,
) {
    for namespace in namespaces(addresses) {
        for kind in [Kind::Execution, Kind::Lease] {
            let here = |(_, a): &(usize, &Address)| a.namespace == namespace && a.kind == kind;
            let chosen = addresses.iter().enumerate().filter(here).filter(|(n, _)| which(*n));
            let mut keys: Vec<_> = chosen.map(|(_, address)| address.key.as_str().to_owned()).collect();
            keys.sort_unstable();
            let list =
                List { namespace: namespace.clone(), kind, state: Some(state), ..context.everything() };
            let page = context.keys(&list).await;
            same(&format!("page of {kind} records, {state:?}, of {namespace:?}"), &keys, &page);
        }
    }
}

/// No case is folded, of any script: two letters that differ in case alone are two keys.
pub(crate) async fn the_case_of_letters_is_never_ignored(context: &LawContext) {
    let pairs = [
        ["abc", "ABC"],
        ["aBc", "AbC"],
        ["é", "É"],
        ["σ", "ς"],
        ["Σ", "ϲ"],
        ["я", "Я"],
        ["ǆ", "ǅ"],
        ["k", "\u{212a}"],
        ["s", "ſ"],
        ["i", "İ"],
        ["ı", "I"],
        ["ﬀ", "ff"],
        ["ß", "ẞ"],
        ["ss", "SS"],
        ["ա", "Ա"],
        ["ａ", "Ａ"],
        ["ꭰ", "Ꭰ"],
        ["𐐨", "𐐀"],
        ["ⓐ", "Ⓐ"],
        ["ⅷ", "Ⅷ"],
        ["ვ", "Ვ"],
        ["å", "\u{212b}"],
        ["K1-é", "K1-É"],
    ];
    all_are_apart(context, &executions(context, pairs.concat())).await;
}

/// Nothing is normalised or left out: other spellings, widths, blanks and invisible marks are other keys.
pub(crate) async fn other_spellings_are_other_keys(context: &LawContext) {
    let pairs = [
        ["\u{e9}", "e\u{301}"],
        ["\u{1e69}", "s\u{323}\u{307}"],
        ["s\u{307}\u{323}", "\u{1e61}\u{323}"],
        ["가", "\u{1100}\u{1161}"],
        ["\u{2126}", "\u{3a9}"],
        ["½", "1⁄2"],
        ["①", "1"],
        ["２", "2"],
        ["x²", "x2"],
        ["™", "TM"],
        ["ﬁ", "fi"],
        ["Ⅳ", "IV"],
        ["…", "..."],
        ["\u{a0}x", " x"],
        ["x\u{3000}", "x "],
        ["x", "x  "],
        ["a\u{ad}b", "ab"],
        ["a\u{200b}b", "a\u{200c}b"],
        ["a\u{200d}b", "a\u{2060}b"],
        ["\u{feff}a", "a"],
        ["a\u{202e}b", "a\u{200e}b"],
        ["☺", "☺\u{fe0f}"],
        ["a\u{2028}", "a\u{2029}"],
        ["-", "\u{2010}"],
        ["'", "\u{2019}"],
        ["a b", "a  b"],
        [" a b", "a b "],
        ["a+b", "a%20b"],
        ["豈", "\u{f900}"],
        ["ä", "ae"],
        ["0x1", "01"],
        ["1.0", "1."],
        ["+1", "-0"],
        ["\u{10ffff}", "\u{fffd}"],
    ];
    all_are_apart(context, &executions(context, pairs.concat())).await;
}

/// Lengths and positions at which a store may truncate a name.
const PLACES: [usize; 24] = [
    15, 31, 32, 63, 64, 99, 100, 127, 128, 190, 191, 199, 200, 249, 253, 254, 255, 256, 300, 383, 384, 400,
    500, 511,
];

/// Long keys are kept whole: keys of one length that differ in one byte, at any position, and keys that start with each
/// other.
pub(crate) async fn long_keys_are_never_truncated(context: &LawContext) {
    let plain = "k".repeat(Key::MAX_BYTES);
    let odd = |place: usize| format!("{}x{}", &plain[..place], &plain[place + 1..]);
    let mut names: Vec<String> = PLACES.into_iter().map(odd).collect();
    names.extend(PLACES.map(|length| plain[..length].to_owned()));
    names.push(plain.clone());
    for wide in ["é", "€", "😀"] {
        let count = Key::MAX_BYTES / wide.len() - 1;
        let stem = wide.repeat(count);
        names.extend([format!("{stem}a"), format!("{stem}b"), stem.clone()]);
        names.push(format!("{}{}", wide.repeat(count / 2), "y".repeat(200)));
    }
    all_are_apart(context, &executions(context, names)).await;
}

/// Long namespaces are kept whole too.
pub(crate) async fn long_namespaces_are_never_truncated(context: &LawContext) {
    let stem = context.namespace().as_str();
    let plain = format!("{stem}{}", "n".repeat(Namespace::MAX_BYTES - stem.len()));
    let named = |name: &str| Namespace::new(name).expect("a namespace");
    let odd = |place: usize| named(&format!("{}x{}", &plain[..place], &plain[place + 1..]));
    let mut all: Vec<_> = (stem.len()..Namespace::MAX_BYTES).step_by(3).map(odd).collect();
    all.extend((stem.len()..=Namespace::MAX_BYTES).step_by(3).map(|length| named(&plain[..length])));
    let address = |namespace| Address::execution(namespace, key("k"));
    all_are_apart(context, &all.into_iter().map(address).collect::<Vec<_>>()).await;
}

/// Two keys for which a hash of 32 bits is the same, and the hash. `collisions_are_collisions` computes them again.
pub(crate) const COLLISIONS: [(&str, [&str; 2]); 18] = [
    ("FNV-1a", ["11gvozfb", "6j3p2ap0"]),
    ("FNV-1", ["n9wh9mh8", "8sv818dn"]),
    ("33 times, plus", ["ia6tcbi4", "kjgysn1o"]),
    ("33 times, xor", ["7wofc0t1", "h6ptu3tw"]),
    ("31 times, plus", ["8pg8q120", "klyon4fp"]),
    ("sdbm", ["itvkhb9n", "pc08p09m"]),
    ("one at a time", ["0tc8gpye", "5bpq7vbz"]),
    ("Adler-32", ["lqsaj08x", "ogz5kok1"]),
    ("CRC-32", ["yd5cous7", "o16ztj0g"]),
    ("CRC-32C", ["1ddeugwj", "c1qe3igy"]),
    ("Murmur3", ["gosgkrum", "jh9s0fyb"]),
    ("xxHash32", ["dsymdtfp", "865isr3n"]),
    ("low half of FNV-1a 64", ["ojqm7vd0", "ym27g8p0"]),
    ("high half of FNV-1a 64", ["kink75cs", "7r65pcr6"]),
    ("folded FNV-1a 64", ["ixnuyux7", "qu8hkpwd"]),
    ("low half of the standard hash of a text", ["k0042701", "k0086010"]),
    ("high half of the standard hash of a text", ["k0006579", "k0033349"]),
    ("low half of the standard hash of bytes", ["k0038993", "k0062911"]),
];

/// Two names of seven letters that share the FNV-1a of what is before them, and of the name. The last byte is mixed in
/// last: states that differ in their lowest byte alone come together by last bytes that differ in the same way.
fn fnv1a_collision(before: &str, fits: fn(u8) -> bool) -> [String; 2] {
    /// Enough for the few thousand states that it takes.
    const SLOTS: usize = 1 << 15;
    let digits = |n: u32| -> [u8; 6] { std::array::from_fn(|place| b'a' + (n >> (4 * place)) as u8 % 16) };
    let mut slots = vec![(0_u32, 0_u32); SLOTS];
    let start = fnv1a(FNV1A, before.as_bytes());
    for n in 1_u32.. {
        let state = fnv1a(start, &digits(n));
        let slot = &mut slots[(state >> 8) as usize % SLOTS];
        if slot.1 != 0 && slot.0 >> 8 == state >> 8 {
            let difference = (slot.0 ^ state) as u8;
            if let Some(last) = (0..128).find(|last| fits(*last) && fits(last ^ difference)) {
                let name = |n, last| format!("{}{}", String::from_utf8_lossy(&digits(n)), char::from(last));
                return [name(slot.1, last), name(n, last ^ difference)];
            }
        }
        *slot = (state, n);
    }
    unreachable!("2^24 states do not stay apart")
}

/// FNV-1a of 32 bits, from a state on.
pub(crate) fn fnv1a(state: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(state, |state, byte| (state ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The first state of FNV-1a.
pub(crate) const FNV1A: u32 = 0x811c_9dc5;

/// Two keys are two records although a hash of 32 bits is the same for both: of the key, of namespace and key, or of
/// the whole address.
pub(crate) async fn keys_with_the_same_hash_are_different_records(context: &LawContext) {
    let mut names: Vec<String> = Vec::new();
    for (_, pair) in COLLISIONS {
        names.extend(pair.map(str::to_owned));
        // Most of these hashes collide for whatever follows as well.
        names.extend(pair.map(|name| format!("{name}{}", "-".repeat(300))));
    }
    let namespace = context.namespace().as_str();
    for (n, between) in ["", ":", "/", "\0", "/execution/", ":execution:"].into_iter().enumerate() {
        let ends = fnv1a_collision(&format!("{namespace}{between}{n}"), |byte| matches!(byte, b' '..=b'~'));
        names.extend(ends.map(|end| format!("{n}{end}")));
    }
    all_are_apart(context, &executions(context, names)).await;
}

/// Two namespaces are different although a hash of 32 bits is the same for both.
pub(crate) async fn namespaces_with_the_same_hash_are_different(context: &LawContext) {
    let stem = context.namespace().as_str();
    let mut all: Vec<Namespace> = Vec::new();
    // These collide after any prefix.
    let linear = ["33 times, plus", "31 times, plus", "sdbm", "Adler-32", "CRC-32", "CRC-32C"];
    for (_, pair) in COLLISIONS.iter().filter(|(name, _)| linear.contains(name)) {
        all.extend(pair.map(|end| Namespace::new(format!("{stem}{end}")).expect("a namespace")));
    }
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    all.extend(
        fnv1a_collision(stem, fits).map(|end| Namespace::new(format!("{stem}{end}")).expect("a namespace")),
    );
    let address = |namespace| Address::execution(namespace, key("k"));
    all_are_apart(context, &all.into_iter().map(address).collect::<Vec<_>>()).await;
}

/// Keys that begin or end with each other are different records, whatever is between.
pub(crate) async fn keys_that_start_or_end_with_each_other_are_different_records(context: &LawContext) {
    let mut names: Vec<String> = vec!["a".into(), "aa".into()];
    for separator in ["", " ", ".", "/", ":", "-", "_", "|", "#", "%", "*", "?", "\\", "~", "\u{1f512}"] {
        let ends = [format!("pay{separator}"), format!("{separator}pay")];
        names.extend(ends.into_iter().chain([format!("pay{separator}eu"), format!("eu{separator}pay")]));
    }
    names.sort_unstable();
    names.dedup();
    all_are_apart(context, &executions(context, names)).await;
}

/// A key or namespace is never a pattern: what is special to LIKE, GLOB, SCAN or a regular expression matches itself.
pub(crate) async fn a_name_is_never_used_as_a_pattern(context: &LawContext) {
    let names = [
        "abc", "a%c", "axc", "a_c", "a.c", "a*c", "a?c", "a[bx]c", "[a-z]*", "%", "_", "*", "?", ".*",
        "^abc$", "(abc)", "a|b", "a", "b", "a\\%c", "a\\_c", "a%%c", "___", "%_%", "abc%", "%abc", "abc*",
        "a\\c", "{a}", "{a}b", "{a}c", "{}", "{}a", "{b}a", "}a{", "a{b", "a}b", "$a", "a$", "!a", "[^a]",
        "a{1,2}", "aa", "KEYS[1]", "?1", ":1", "$1",
    ];
    all_are_apart(context, &executions(context, names)).await;
}

/// Namespaces that begin or end with each other, or match each other as patterns, are different: `pay`, `pay.eu`,
/// `pay_eu`.
pub(crate) async fn namespaces_that_start_or_end_with_each_other_are_different(context: &LawContext) {
    let stem = context.namespace().as_str();
    let mut addresses = Vec::new();
    for end in [
        "", ".eu", "_eu", "-eu", "xeu", "eu", ".", "_", "-", "..", "__", ".eu.x", ".eu_x", "_eu_x", ".e", "0",
    ] {
        let namespace = Namespace::new(format!("{stem}{end}")).expect("a namespace");
        addresses.push(Address::execution(namespace.clone(), key("k")));
        addresses.push(Address::lease(namespace, key("k")));
    }
    for before in ["x", "x.", "_", "."] {
        let namespace = Namespace::new(format!("{before}{stem}")).expect("a namespace");
        addresses.push(Address::execution(namespace, key("k")));
    }
    all_are_apart(context, &addresses).await;
}

/// The parts of an address are never joined, in whatever order, by whatever separator or by none.
pub(crate) async fn the_parts_of_an_address_are_never_joined(context: &LawContext) {
    let stem = context.namespace().as_str();
    let mut addresses = Vec::new();
    let mut add = |namespace: String, key: String| {
        let (namespace, key) =
            (Namespace::new(namespace).expect("a namespace"), Key::new(key).expect("a key"));
        let address = Address::execution(namespace, key);
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    };
    for separator in ["", ".", "-", "_"] {
        // Namespace before key, and key before namespace.
        add(format!("{stem}{separator}b"), "c".into());
        add(stem.into(), format!("b{separator}c"));
        add(format!("b{separator}{stem}"), "c".into());
        add(stem.into(), format!("c{separator}b"));
        for word in ["execution", "lease", "e", "0"] {
            add(format!("{stem}{separator}{word}"), "k".into());
            add(stem.into(), format!("{word}{separator}k"));
            add(stem.into(), format!("k{separator}{word}"));
        }
    }
    all_are_apart(context, &addresses).await;
}

/// No key of an execution addresses a lease, nor one of a lease an execution, even if it contains the name of a kind.
pub(crate) async fn no_key_addresses_a_record_of_the_other_kind(context: &LawContext) {
    let mut names = vec!["k".to_owned()];
    for word in ["lease", "execution", "l", "e", "L", "E", "leases", "executions"] {
        for separator in ["", ":", "/", ".", "-", "_", "|"] {
            names.extend([format!("{word}{separator}k"), format!("k{separator}{word}")]);
        }
    }
    let (namespace, mut addresses) = (context.namespace(), Vec::new());
    for name in &names {
        addresses.push(Address::execution(namespace.clone(), key(name)));
        addresses.push(Address::lease(namespace.clone(), key(name)));
    }
    let claims = addresses.iter().map(|address| (address.clone(), call("ann").into()));
    for (address, reply) in addresses.iter().zip(context.each(claims.collect()).await) {
        let granted = matches!(reply.reply, Reply::Claim(ClaimReply::Granted(_))) && reply.stamp.rev == 1;
        assert!(granted, "{address} is another record too: {reply:?}");
    }
    pages_hold(context, &addresses, VisibleState::Claimed, |_| true).await;
}

/// Claim ids and op ids are compared to their last bit: one that differs in any of 128 is another call, another
/// decision.
pub(crate) async fn ids_are_compared_to_the_last_of_128_bits(context: &LawContext) {
    for bit in [0, 7, 31, 32, 52, 53, 62, 63, 64, 95, 96, 126, 127] {
        let flip = |bits: u128| bits ^ (1 << bit);
        let (key, own) = (context.execution(&format!("bit {bit}")), call("ann"));
        let other = ClaimId::from_bits(flip(own.claim_id.bits()));
        let grant = key.granted(&own).await;
        expect_reply!(
            key.claim(&Claim { claim_id: other, ..call("bob") }).await,
            ClaimReply::InProgress { .. }
        );
        let wrong = Grant { claim_id: other, ..grant };
        expect_reply!(key.heartbeat(wrong).await, HeartbeatReply::Lost(LostReason::Superseded(_)));
        expect_reply!(key.begin(wrong).await, BeginReply::Superseded(_));
        expect_reply!(key.cancel(other).await, CancelReply::Untouched(_));
        expect_reply!(key.release(grant).await, ReleaseReply::Released);
        // Of the two only the first is remembered.
        expect_reply!(key.claim(&own).await, ClaimReply::AlreadyReleased);
        let grant = key.begun(&Claim { claim_id: other, ..call("bob") }).await;
        expect_reply!(key.abandon(grant, "lost contact").await, AbandonReply::Abandoned);
        let seen = reconcile("olga", grant.token);
        let token = key.taken(&seen).await;
        let op_id = OpId::from_bits(flip(seen.op_id.bits()));
        expect_reply!(key.reconcile(&Reconcile { op_id, expect: token, ..seen.clone() }).await,
            ReconcileReply::HeldBy { op_id: got, .. } if got == seen.op_id);
        let record = key.record().await;
        same("the op id", &Some(seen.op_id), &record.decision.map(|decision| decision.op_id));
    }
}

#[cfg(test)]
#[allow(clippy::missing_docs_in_private_items, reason = "tests have names")]
mod tests {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};

    use super::*;
    use crate::diff::assert_eq;

    fn crc(polynomial: u32, bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |state, byte| {
            (0..8).fold(state ^ u32::from(*byte), |c, _| (c >> 1) ^ (polynomial & (c & 1).wrapping_neg()))
        })
    }

    fn times(factor: u32, state: u32, bytes: &[u8]) -> u32 {
        bytes.iter().fold(state, |state, byte| state.wrapping_mul(factor).wrapping_add(u32::from(*byte)))
    }

    fn adler(bytes: &[u8]) -> (u32, u32) {
        bytes.iter().fold((1, 0), |(a, b), byte| {
            let a = (a + u32::from(*byte)) % 65_521;
            (a, (a + b) % 65_521)
        })
    }

    fn fnv64(bytes: &[u8]) -> u64 {
        let state = 0xcbf2_9ce4_8422_2325_u64;
        bytes.iter().fold(state, |state, byte| (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
    }

    #[test]
    fn collisions_are_collisions() {
        let pair = |wanted: &str| {
            let found = COLLISIONS.iter().find(|(name, _)| *name == wanted).expect("a pair");
            found.1.map(|text| [text.as_bytes(), &[b'-'; 300]].concat())
        };
        let equal = |name: &str, hash: &dyn Fn(&[u8]) -> u64| {
            let [a, b] = pair(name);
            assert!(a != b && hash(&a) == hash(&b), "{name}");
        };
        equal("FNV-1a", &|bytes| fnv1a(FNV1A, bytes).into());
        equal("33 times, plus", &|bytes| times(33, 5381, bytes).into());
        equal("31 times, plus", &|bytes| times(31, 0, bytes).into());
        equal("sdbm", &|bytes| times(65_599, 0, bytes).into());
        equal("Adler-32", &|bytes| u64::from(adler(bytes).0) << 32 | u64::from(adler(bytes).1));
        equal("CRC-32", &|bytes| crc(0xedb8_8320, bytes).into());
        equal("CRC-32C", &|bytes| crc(0x82f6_3b78, bytes).into());
        let short = |wanted: &str| COLLISIONS.iter().find(|(name, _)| *name == wanted).expect("a pair").1;
        let halves = |text: &str| (fnv64(text.as_bytes()) as u32, (fnv64(text.as_bytes()) >> 32) as u32);
        let [a, b] = short("low half of FNV-1a 64").map(halves);
        assert_eq!(a.0, b.0);
        let [a, b] = short("high half of FNV-1a 64").map(halves);
        assert_eq!(a.1, b.1);
        let [a, b] = short("folded FNV-1a 64").map(halves);
        assert_eq!(a.0 ^ a.1, b.0 ^ b.1);
        let standard = |text: &str| {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            (hasher.finish() as u32, (hasher.finish() >> 32) as u32)
        };
        let [a, b] = short("low half of the standard hash of a text").map(standard);
        assert_eq!(a.0, b.0);
        let [a, b] = short("high half of the standard hash of a text").map(standard);
        assert_eq!(a.1, b.1);
    }

    #[test]
    fn a_computed_collision_is_one() {
        let [a, b] =
            fnv1a_collision("before", |byte| byte.is_ascii_lowercase()).map(|key| format!("before{key}"));
        assert!(a != b && fnv1a(FNV1A, a.as_bytes()) == fnv1a(FNV1A, b.as_bytes()));
    }
}
