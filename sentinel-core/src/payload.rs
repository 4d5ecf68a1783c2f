//! Results as stores keep them: bytes with a content type.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::digest::{hex, sha256};
use crate::error::Invalid;
use crate::terms::Label;

/// The bytes of a result and their content type. They are replayed byte for byte.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Payload {
    /// The content type, for example `application/json`.
    pub content_type: Label,
    /// The bytes.
    pub bytes: Bytes,
}

impl Payload {
    /// The default limit for stored results: 1 MiB. An execution with a larger result still completes, and its result
    /// is marked as omitted.
    pub const DEFAULT_LIMIT: usize = 1 << 20;
    /// The content type of the default codec.
    pub const JSON: &'static str = "application/json";
    /// The content type of bytes without a stated content type.
    pub const OCTETS: &'static str = "application/octet-stream";

    /// Creates a payload. Control characters in the content type become spaces, and an empty one becomes `-`.
    pub fn new(content_type: &str, bytes: impl Into<Bytes>) -> Self {
        let content_type = match content_type {
            Self::JSON => Label::known(Self::JSON),
            Self::OCTETS => Label::known(Self::OCTETS),
            other => Label::lossy(other),
        };
        Self { content_type, bytes: bytes.into() }
    }

    /// Refuses JSON that cannot be parsed. Bytes of other content types are not checked.
    pub fn check(&self) -> Result<(), Invalid> {
        if media_type(self.content_type.as_str()) != Self::JSON {
            return Ok(());
        }
        let json = serde_json::from_slice::<serde::de::IgnoredAny>(&self.bytes);
        json.map(drop).map_err(|error| {
            Invalid::new("result", format!("is not valid JSON, although its content type is JSON: {error}"))
        })
    }

    /// No bytes, with the content type [`OCTETS`](Self::OCTETS).
    pub fn empty() -> Self {
        Self::new(Self::OCTETS, Bytes::new())
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A result may be private: a log shows its size, not its content.
        write!(f, "Payload({}, {} bytes)", self.content_type, self.bytes.len())
    }
}

/// The content types that the callers of a key can decode. The claim records them, so that an operator cannot record a
/// result that no caller can read.
///
/// Stored as media types in lower case without parameters, joined by commas, or as `*/*` for any; at most 1024 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Accepts(Kinds);

/// The two values that nearly all keys have, which need no allocation, and any other list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kinds {
    Any,
    Json,
    Listed(Arc<Label>),
}

impl Accepts {
    const ANY: &'static str = "*/*";

    /// Callers accept bytes of any content type.
    pub const fn any() -> Self {
        Self(Kinds::Any)
    }

    /// Callers decode JSON.
    pub const fn json() -> Self {
        Self(Kinds::Json)
    }

    /// Callers decode these content types; parameters such as `charset` are ignored. Returns an error for an empty
    /// list, an empty type, a comma within a type, and more than 1024 bytes in total.
    pub fn new<'a>(content_types: impl IntoIterator<Item = &'a str>) -> Result<Self, Invalid> {
        let types: Vec<String> = content_types.into_iter().map(media_type).collect();
        if types.is_empty() || types.iter().any(|one| one.is_empty() || one.contains(',')) {
            return Err(Invalid::new("accepted content types", "must be one or more content types"));
        }
        let any = types.iter().any(|one| one == Self::ANY);
        if any { Ok(Self::any()) } else { types.join(",").try_into() }
    }

    /// Whether callers can decode this content type.
    pub fn accepts(&self, content_type: &str) -> bool {
        self.0 == Kinds::Any || self.as_str().split(',').any(|one| one == media_type(content_type))
    }

    /// The text used in storage.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Kinds::Any => Self::ANY,
            Kinds::Json => Payload::JSON,
            Kinds::Listed(kinds) => kinds.as_str(),
        }
    }
}

impl Default for Accepts {
    fn default() -> Self {
        Self::any()
    }
}

impl fmt::Display for Accepts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Accepts> for String {
    fn from(accepts: Accepts) -> String {
        accepts.as_str().to_owned()
    }
}

impl TryFrom<String> for Accepts {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        match text.as_str() {
            Self::ANY => Ok(Self::any()),
            Payload::JSON => Ok(Self::json()),
            other => Ok(Self(Kinds::Listed(Arc::new(Label::new(other)?)))),
        }
    }
}

/// A content type in lower case without its parameters, as [`Accepts`] compares it.
pub(crate) fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether the work succeeded or failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It succeeded.
    Success,
    /// It failed for good: later callers get this failure.
    Failure,
}

impl Verdict {
    /// The name used in storage and by the program.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

/// A result as it is recorded: verdict, code and bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RecordedResult {
    /// Success, or a final failure.
    pub verdict: Verdict,
    /// A code that the caller chose, such as an exit code or an HTTP status.
    pub code: Option<i32>,
    /// The bytes to replay.
    pub payload: Payload,
    /// The bytes were left out, because they could not be encoded, were too large, or would have been replayed as
    /// another value, or because the store refused them. The execution is complete without them.
    pub omitted: bool,
}

impl RecordedResult {
    /// A success with these bytes.
    pub fn success(payload: Payload) -> Self {
        Self { verdict: Verdict::Success, code: None, payload, omitted: false }
    }

    /// A final failure with these bytes.
    pub fn failure(code: Option<i32>, payload: Payload) -> Self {
        Self { verdict: Verdict::Failure, code, payload, omitted: false }
    }

    /// A digest of all fields. It distinguishes a repeated decision from a different one, and an event stores it
    /// instead of the bytes.
    pub fn digest(&self) -> Digest {
        let code = self.code.map(i64::from).unwrap_or(i64::MAX).to_be_bytes();
        let flags = [u8::from(self.verdict == Verdict::Failure), u8::from(self.omitted)];
        let (kind, bytes) = (self.payload.content_type.as_str().as_bytes(), self.payload.bytes.as_ref());
        Digest(sha256(&[&flags, &code, kind, bytes]))
    }
}

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Creates a digest from stored bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        hex(&digest.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let wrong = || Invalid::new("digest", format!("must be 64 hexadecimal digits, is {text:?}"));
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_covers_all_fields() {
        let success = RecordedResult::success(Payload::empty());
        let others = [
            RecordedResult::failure(None, Payload::empty()),
            RecordedResult { code: Some(0), ..success.clone() },
            RecordedResult { omitted: true, ..success.clone() },
            RecordedResult { omitted: true, ..RecordedResult::failure(None, Payload::empty()) },
            RecordedResult::success(Payload::new(Payload::OCTETS, "x")),
        ];
        let digests: std::collections::HashSet<Digest> = others.iter().map(RecordedResult::digest).collect();
        assert_eq!(digests.len(), others.len());
        assert!(!digests.contains(&success.digest()));
        // Stored with decisions: if this digest changed, repeats of earlier decisions would be refused.
        assert_eq!(
            success.digest().to_string(),
            "c274a5ac11e76dc491f4a8c486dd83bd6b0401bb374f88de9cd879c55c9b4597"
        );
    }

    #[test]
    fn a_digest_is_read_as_it_was_written() {
        let digest = Digest::from_bytes(std::array::from_fn(|n| 7 * n as u8));
        let text = String::from(digest);
        assert_eq!(text, "00070e151c232a31383f464d545b626970777e858c939aa1a8afb6bdc4cbd2d9");
        assert_eq!(Digest::try_from(text.clone()).unwrap(), digest);
        for wrong in [&text[1..], &format!("{text}0"), &text.replace('a', "g"), &text.replace("00", "+0")] {
            assert!(Digest::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_stored_names_of_verdicts_do_not_change() {
        assert_eq!([Verdict::Success, Verdict::Failure].map(Verdict::as_str), ["success", "failure"]);
    }
}
