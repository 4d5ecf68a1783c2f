//! The field `Sentinel-Fence`: how a fence is written, read and signed.

use http::{HeaderName, HeaderValue};
use sentinel_client::sentinel_core::{Address, Token};
use sfv::{BareItem, Item, ItemSerializer, KeyRef, Parameters, Parser, StringRef, TokenRef};

use super::key::FenceKey;
use crate::field::{decode_address, encode_address, number, string, token};
use crate::signature::SIGNATURE_BYTES;

/// The request field that carries a fence.
pub const SENTINEL_FENCE: HeaderName = HeaderName::from_static("sentinel-fence");

/// The version of the field, and what its signature begins with.
const VERSION: &str = "v1";
const SIGNED_VERSION: &[u8] = b"sentinel-fence-v1";

/// The longest field, in bytes: the longest address, encoded, and the other parts.
const MAX_BYTES: usize = 2_048;

/// A fence as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fence {
    pub(super) address: Address,
    pub(super) token: Token,
    /// Seconds since 1970 (UTC), by the sender's clock.
    pub(super) expires: u64,
    /// None: it is not signed.
    pub(super) signed: Option<Signed>,
}

/// The id of the key, and the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) key: String,
    pub(super) signature: Vec<u8>,
}

impl Fence {
    /// The signature that the fence has with this key, for this audience.
    pub(super) fn signature(&self, key: &FenceKey, audience: &str) -> [u8; SIGNATURE_BYTES] {
        let Address { namespace, kind, key: of } = &self.address;
        let (token, expires) = (self.token.to_string(), self.expires.to_string());
        key.secret.sign_parts(&[
            SIGNED_VERSION,
            key.id().as_bytes(),
            audience.as_bytes(),
            namespace.as_str().as_bytes(),
            kind.as_str().as_bytes(),
            of.as_str().as_bytes(),
            token.as_bytes(),
            expires.as_bytes(),
        ])
    }

    /// The field's value: `v1;a="billing/execution/order-42";t="1795227373939496";e="1795227999";k="2026-11";s=:..:`.
    pub(super) fn to_value(&self) -> HeaderValue {
        let (address, token, expires) =
            (encode_address(&self.address), self.token.to_string(), self.expires.to_string());
        let mut item = ItemSerializer::new()
            .bare_item(TokenRef::constant(VERSION))
            .parameter(KeyRef::constant("a"), visible(&address))
            .parameter(KeyRef::constant("t"), visible(&token))
            .parameter(KeyRef::constant("e"), visible(&expires));
        if let Some(Signed { key, signature }) = &self.signed {
            item = item
                .parameter(KeyRef::constant("k"), visible(key))
                .parameter(KeyRef::constant("s"), signature.as_slice());
        }
        HeaderValue::try_from(item.finish()).unwrap_or_else(|_| unreachable!("all parts are visible ASCII"))
    }

    /// The fence of a field's value; None: it is no fence of this version.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        if value.len() > MAX_BYTES {
            return None;
        }
        let item: Item = Parser::new(value).parse().ok()?;
        match &item.bare_item {
            BareItem::Token(version) if version.as_str() == VERSION => {}
            _ => return None,
        }
        // A part that this version does not know would not be signed.
        if !item.params.keys().all(|name| ["a", "t", "e", "k", "s"].contains(&name.as_str())) {
            return None;
        }
        let text = |name: &str| item.params.get(name).and_then(string);
        Some(Self {
            address: decode_address(text("a")?)?,
            token: token(text("t")?)?,
            expires: number(text("e")?)?,
            signed: signed(&item.params)?,
        })
    }
}

/// The signature of a fence; Some(None): it has none. None: only one of its two parts is there, or it is malformed.
fn signed(params: &Parameters) -> Option<Option<Signed>> {
    match (params.get("k"), params.get("s")) {
        (None, None) => Some(None),
        (Some(key), Some(BareItem::ByteSequence(signature))) if signature.len() == SIGNATURE_BYTES => {
            Some(Some(Signed { key: string(key)?.to_owned(), signature: signature.clone() }))
        }
        _ => None,
    }
}

fn visible(text: &str) -> &StringRef {
    StringRef::from_str(text).unwrap_or_else(|_| unreachable!("all parts are visible ASCII"))
}

/// For fuzzing: reads a field's value. None: it is no fence. Some(same): whether it is read the same after it is
/// written again.
#[cfg(any(test, feature = "fuzzing"))]
pub fn reread(value: &[u8]) -> Option<bool> {
    let fence = Fence::parse(value)?;
    let written = fence.to_value();
    Some(Fence::parse(written.as_bytes()) == Some(fence))
}
