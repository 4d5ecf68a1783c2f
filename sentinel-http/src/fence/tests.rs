use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use sentinel_client::sentinel_core::{Address, Key, Kind, ManualClock, Namespace, StoreTime, Token};

use super::field::{Fence, Signed};
use super::{FenceKey, FenceSigner, FenceVerifier, SENTINEL_FENCE, VerifiedFence, field};
use crate::problem::Problem;

const NOW: StoreTime = StoreTime::from_micros(1_795_227_373_000_000);
const SECRET: &str = "a secret of at least thirty-two bytes";

fn address(key: &str) -> Address {
    Address::execution(Namespace::new("billing").unwrap(), Key::new(key).unwrap())
}

fn token(number: u64) -> Token {
    Token::new(number).unwrap()
}

fn key(id: &str) -> FenceKey {
    FenceKey::new(id, format!("{SECRET} {id}")).unwrap()
}

/// A signer and a verifier by one clock.
struct Both {
    clock: Arc<ManualClock>,
    signer: FenceSigner,
    verifier: FenceVerifier,
}

impl Both {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(NOW));
        let signer = FenceSigner::new(key("2026-11")).clock(clock.clone());
        let verifier = FenceVerifier::new("ledger", [key("2026-10"), key("2026-11")]).clock(clock.clone());
        Self { clock, signer, verifier }
    }

    fn sign(&self, of: &str, number: u64) -> HeaderValue {
        self.signer.sign_for(&address(of), token(number), "ledger", Duration::from_secs(30))
    }

    fn verify(&self, value: HeaderValue) -> Result<VerifiedFence, Problem> {
        self.verifier.verify(&HeaderMap::from_iter([(SENTINEL_FENCE, value)]))
    }
}

fn parsed(value: &HeaderValue) -> Fence {
    Fence::parse(value.as_bytes()).unwrap()
}

#[test]
fn a_fence_is_accepted_for_keys_of_any_text() {
    let both = Both::new();
    let longest = "ü".repeat(Key::MAX_BYTES / 2);
    for key in ["order-42", "a/b", "Zürich €", "\"quoted\\\"", "100%", "a,b;c=1", " ", &longest] {
        let verified = both.verify(both.sign(key, 7)).unwrap();
        assert_eq!(verified, VerifiedFence { address: address(key), token: token(7) });
        assert_eq!(verified.values().address, format!("billing/execution/{key}"));
        assert_eq!(verified.values().token, 7);
    }
}

#[test]
fn the_form_of_the_field_and_its_signature_do_not_change() {
    let value = Both::new().sign("order-42", 1_795_227_373_939_496);
    // The signature was made with Python: hmac.new(key, b"".join(struct.pack(">Q", len(p)) + p for p in parts),
    // "sha256").
    let expected = "v1;a=\"billing/execution/order-42\";t=\"1795227373939496\";e=\"1795227463\";k=\"2026-11\";\
                    s=:AyG0Yx25I1wVZ9o4iNZL5X+vqV/opAN5bGjVoJeank0=:";
    assert_eq!(value, expected);
}

#[test]
fn each_flipped_bit_of_each_part_is_found() {
    let both = Both::new();
    let value = both.sign("order-42", 7);
    let genuine = parsed(&value);
    for at in 0..value.len() {
        for bit in 0..8 {
            let mut bytes = value.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            let Ok(flipped) = HeaderValue::from_bytes(&bytes) else { continue };
            // A bit of base64 that encodes nothing, or the case of a digit of the encoding, changes no part.
            if Fence::parse(flipped.as_bytes()) == Some(genuine.clone()) {
                continue;
            }
            assert_eq!(both.verify(flipped.clone()), Err(Problem::FenceInvalid), "{flipped:?}");
        }
    }
    assert!(both.verify(value).is_ok());
}

#[test]
fn a_change_of_each_part_is_found() {
    let both = Both::new();
    let genuine = parsed(&both.sign("order-42", 7));
    let lease = Address { kind: Kind::Lease, ..genuine.address.clone() };
    let namespace = Namespace::new("other").unwrap();
    let signed = genuine.signed.clone().unwrap();
    let with = |change: &dyn Fn(&mut Fence)| {
        let mut fence = genuine.clone();
        change(&mut fence);
        both.verify(fence.to_value())
    };
    let invalid = Err(Problem::FenceInvalid);
    assert!(with(&|_| {}).is_ok());
    assert_eq!(with(&|fence| fence.address = address("order-43")), invalid);
    assert_eq!(with(&|fence| fence.address = lease.clone()), invalid);
    assert_eq!(with(&|fence| fence.address.namespace = namespace.clone()), invalid);
    assert_eq!(with(&|fence| fence.token = token(8)), invalid);
    assert_eq!(with(&|fence| fence.expires += 1), invalid);
    assert_eq!(
        with(&|fence| fence.signed = Some(Signed { key: "2026-10".into(), ..signed.clone() })),
        invalid
    );
    assert_eq!(
        with(&|fence| fence.signed = Some(Signed { key: "2025-01".into(), ..signed.clone() })),
        invalid
    );
    assert_eq!(with(&|fence| fence.signed = None), invalid);
}

#[test]
fn a_fence_for_another_audience_is_refused() {
    let both = Both::new();
    let value = both.signer.sign_for(&address("order-42"), token(7), "mailer", Duration::from_secs(30));
    assert_eq!(both.verify(value), Err(Problem::FenceInvalid));
}

#[test]
fn a_fence_expires_a_minute_after_its_run_and_a_minute_is_left_for_clocks_that_differ() {
    let both = Both::new();
    let value = both.sign("order-42", 7);
    assert_eq!(parsed(&value).expires, NOW.as_micros() / 1_000_000 + 30 + 60);
    both.clock.advance(Duration::from_secs(30 + 60 + 60));
    assert!(both.verify(value.clone()).is_ok());
    both.clock.advance(Duration::from_micros(1));
    assert_eq!(both.verify(value), Err(Problem::FenceInvalid));
}

#[test]
fn a_key_that_replaces_another_is_accepted_beside_it() {
    let both = Both::new();
    for id in ["2026-10", "2026-11"] {
        let signer = FenceSigner::new(key(id)).clock(both.clock.clone());
        let value = signer.sign_for(&address(id), token(7), "ledger", Duration::ZERO);
        assert!(both.verify(value).is_ok());
    }
    let unknown = FenceSigner::new(key("2025-01")).clock(both.clock.clone());
    let value = unknown.sign_for(&address("a"), token(7), "ledger", Duration::ZERO);
    assert_eq!(both.verify(value), Err(Problem::FenceInvalid));
}

#[test]
fn a_lower_token_is_stale_and_an_equal_one_is_not() {
    let both = Both::new();
    assert!(both.verify(both.sign("a", 8)).is_ok());
    assert_eq!(both.verify(both.sign("a", 7)), Err(Problem::StaleFence));
    assert!(both.verify(both.sign("a", 8)).is_ok() && both.verify(both.sign("b", 7)).is_ok());
    // A clone is the same receiver; a higher token without a valid signature moves nothing.
    let (clone, mut forged) = (both.verifier.clone(), parsed(&both.sign("a", 8)));
    forged.token = token(100);
    assert_eq!(both.verify(forged.to_value()), Err(Problem::FenceInvalid));
    assert!(both.verify(both.sign("a", 9)).is_ok());
    let stale = HeaderMap::from_iter([(SENTINEL_FENCE, both.sign("a", 8))]);
    assert_eq!(clone.verify(&stale), Err(Problem::StaleFence));
}

#[test]
fn no_field_two_fields_and_other_versions_are_refused() {
    let both = Both::new();
    let value = both.sign("order-42", 7);
    assert_eq!(both.verifier.verify(&HeaderMap::new()), Err(Problem::FenceMissing));
    let mut twice = HeaderMap::new();
    twice.append(SENTINEL_FENCE, value.clone());
    twice.append(SENTINEL_FENCE, value.clone());
    assert_eq!(both.verifier.verify(&twice), Err(Problem::FenceInvalid));
    let text = value.to_str().unwrap();
    for other in [
        String::new(),
        text.replacen("v1", "v2", 1),
        text.replacen("v1", "\"v1\"", 1),
        text.replace("\"7\"", "7"),
        text.replace("\"7\"", "\"07\""),
        text.replace("\"7\"", "\"+7\""),
        text.replace(";t=", ";T="),
        format!("{text};x=1"),
        format!("{text}, {text}"),
        text.replace("billing/execution/", "billing/"),
        text.replace("order-42", "order%4"),
        text.replace("order-42", &"x".repeat(3_000)),
    ] {
        let value = HeaderValue::from_str(&other).unwrap();
        assert_eq!(both.verify(value), Err(Problem::FenceInvalid), "{other}");
    }
}

#[test]
fn an_unsigned_fence_is_accepted_only_where_the_network_is_trusted() {
    let both = Both::new();
    let unsigned = FenceSigner::unsigned().clock(both.clock.clone());
    let value = unsigned.sign_for(&address("a"), token(7), "ledger", Duration::ZERO);
    assert_eq!(both.verify(value.clone()), Err(Problem::FenceInvalid));
    let trusting = FenceVerifier::unsigned().clock(both.clock.clone());
    let headers = HeaderMap::from_iter([(SENTINEL_FENCE, value)]);
    assert_eq!(trusting.verify(&headers).map(|fence| fence.token), Ok(token(7)));
    both.clock.advance(Duration::from_secs(121));
    assert_eq!(trusting.verify(&headers), Err(Problem::FenceInvalid));
}

#[test]
fn a_key_that_cannot_be_sent_or_is_too_short_is_refused() {
    for (id, secret) in
        [("", SECRET), ("a b", SECRET), ("ä", SECRET), (&"k".repeat(65), SECRET), ("k", "short")]
    {
        assert!(FenceKey::new(id, secret).is_err(), "{id:?}");
    }
    assert!(!format!("{:?}", key("k")).contains("secret of"));
}

fn any_fence() -> impl Strategy<Value = Fence> {
    let signed = proptest::option::of(("[!-~]{1,64}", proptest::array::uniform32(any::<u8>())));
    ("[a-z0-9._-]{1,64}", any::<bool>(), "[^\\p{Cc}]{1,100}", 1..1u64 << 53, any::<u64>(), signed).prop_map(
        |(namespace, is_lease, key, number, expires, signed)| Fence {
            address: Address {
                namespace: Namespace::new(namespace).unwrap(),
                kind: if is_lease { Kind::Lease } else { Kind::Execution },
                key: Key::new(key).unwrap(),
            },
            token: token(number),
            expires,
            signed: signed.map(|(key, signature)| Signed { key, signature: signature.to_vec() }),
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(fence in any_fence()) {
        prop_assert_eq!(Fence::parse(fence.to_value().as_bytes()), Some(fence));
    }

    #[test]
    fn no_bytes_end_the_process(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_ne!(field::reread(&bytes), Some(false));
    }
}
