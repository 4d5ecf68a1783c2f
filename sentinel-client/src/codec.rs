//! Encodes and decodes results.

use std::fmt::Display;
use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use sentinel_core::{Accepts, Payload, RecordedResult};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::faithful;
use super::outcome::{CodecError, Error, NotStored};

/// Encodes results as bytes, and decodes them.
pub trait Codec<T>: Send + Sync + 'static {
    /// Encodes a result. After an error the result is recorded without its bytes: the execution is complete all the
    /// same.
    fn encode(&self, value: &T) -> Result<Payload, CodecError>;
    /// Decodes a recorded result.
    fn decode(&self, payload: &Payload) -> Result<T, CodecError>;
    /// The content types that [`decode`](Self::decode) can read. Any, unless a codec overrides it. The claim records
    /// them, and an operator's result of another content type is refused.
    fn accepts(&self) -> Accepts {
        Accepts::any()
    }

    /// Checks, before a result is recorded, that a replay will give the same value. After an error, which states the
    /// difference, the result is recorded without its bytes, and the call returns
    /// [`Outcome::CompletedNotStored`](super::Outcome::CompletedNotStored).
    ///
    /// The default decodes and encodes again, and compares the bytes. Their order does not count, since a map may be
    /// iterated in another order. Values that are encoded as the same bytes are not distinguished.
    fn check(&self, value: &T, payload: &Payload) -> Result<(), CodecError> {
        let _ = value;
        let again = self.encode(&self.decode(payload)?)?;
        match same_bytes(&payload.bytes, &again.bytes) && payload.content_type == again.content_type {
            true => Ok(()),
            false => Err("what it decodes to is encoded differently".into()),
        }
    }
}

fn same_bytes(one: &[u8], other: &[u8]) -> bool {
    let count = |bytes: &[u8]| {
        let mut counts = [0usize; 256];
        bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        counts
    };
    one == other || count(one) == count(other)
}

/// JSON, the default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn encode(&self, value: &T) -> Result<Payload, CodecError> {
        Ok(Payload::new(Payload::JSON, serde_json::to_vec(value)?))
    }

    fn decode(&self, payload: &Payload) -> Result<T, CodecError> {
        Ok(serde_json::from_slice(&payload.bytes)?)
    }

    fn accepts(&self) -> Accepts {
        Accepts::json()
    }

    /// Decodes, and compares what both values pass to `serde`. The bytes are not enough: JSON writes `Some(NaN)`,
    /// `Some(None)` and `None` alike.
    fn check(&self, value: &T, payload: &Payload) -> Result<(), CodecError> {
        let replayed: T = self.decode(payload)?;
        match faithful::same(value, &replayed)? {
            true => Ok(()),
            false => {
                Err("JSON would replay it as another value: it has no NaN, no infinity and no Some(None)"
                    .into())
            }
        }
    }
}

/// Bytes without encoding: for `Bytes`, `Vec<u8>`, and `Payload`, which has its own content type.
#[derive(Debug, Clone, Copy, Default)]
pub struct Raw;

impl Codec<Bytes> for Raw {
    fn encode(&self, value: &Bytes) -> Result<Payload, CodecError> {
        Ok(Payload::new(Payload::OCTETS, value.clone()))
    }

    fn decode(&self, payload: &Payload) -> Result<Bytes, CodecError> {
        Ok(payload.bytes.clone())
    }

    fn check(&self, _: &Bytes, _: &Payload) -> Result<(), CodecError> {
        Ok(())
    }
}

impl Codec<Vec<u8>> for Raw {
    fn encode(&self, value: &Vec<u8>) -> Result<Payload, CodecError> {
        Ok(Payload::new(Payload::OCTETS, value.clone()))
    }

    fn decode(&self, payload: &Payload) -> Result<Vec<u8>, CodecError> {
        Ok(payload.bytes.to_vec())
    }

    fn check(&self, _: &Vec<u8>, _: &Payload) -> Result<(), CodecError> {
        Ok(())
    }
}

impl Codec<Payload> for Raw {
    fn encode(&self, value: &Payload) -> Result<Payload, CodecError> {
        Ok(value.clone())
    }

    fn decode(&self, payload: &Payload) -> Result<Payload, CodecError> {
        Ok(payload.clone())
    }

    fn check(&self, _: &Payload, _: &Payload) -> Result<(), CodecError> {
        Ok(())
    }
}

/// Encodes a success as `once` records it. A value that cannot be encoded, is larger than `limit` bytes, or would be
/// replayed as another value is recorded without its bytes: the execution is complete all the same. [`encode_checked`]
/// also returns the reason.
pub fn encode_result<T>(codec: &impl Codec<T>, value: &T, limit: usize) -> RecordedResult {
    encode_checked(codec, value, limit).0
}

/// Like [`encode_result`], and returns the reason if the bytes are left out.
pub fn encode_checked<T>(
    codec: &impl Codec<T>,
    value: &T,
    limit: usize,
) -> (RecordedResult, Option<NotStored>) {
    let encoding = AssertUnwindSafe(|| encode(codec, value, limit));
    let panicked = |_| Err(NotStored::NotEncodable("the codec panicked".into()));
    match std::panic::catch_unwind(encoding).unwrap_or_else(panicked) {
        Ok(payload) => (RecordedResult::success(payload), None),
        Err(why) => {
            (RecordedResult { omitted: true, ..RecordedResult::success(Payload::empty()) }, Some(why))
        }
    }
}

fn encode<T>(codec: &(impl Codec<T> + ?Sized), value: &T, limit: usize) -> Result<Payload, NotStored> {
    let payload = codec.encode(value).map_err(NotStored::NotEncodable)?;
    let bytes = payload.bytes.len();
    if bytes > limit {
        return Err(NotStored::TooLarge { bytes, limit });
    }
    codec.check(value, &payload).map_err(|error| NotStored::Unfaithful(error.to_string()))?;
    Ok(payload)
}

/// Encodes the error of a failure that is recorded for good. One that cannot be encoded, is larger than `limit` bytes
/// or would be replayed as another error is recorded as its text, as without a codec.
pub(crate) fn encode_failure<E: Display + 'static>(
    codec: Option<&dyn Codec<E>>,
    error: &E,
    limit: usize,
) -> RecordedResult {
    if let Some(Ok(payload)) = codec.map(|codec| encode(codec, error, limit)) {
        return RecordedResult::failure(None, payload);
    }
    let text = error.to_string();
    let cut = text.floor_char_boundary(limit.min(text.len()));
    let omitted = cut < text.len();
    let payload = Payload::new("text/plain; charset=utf-8", text[..cut].to_owned());
    RecordedResult { omitted, ..RecordedResult::failure(None, payload) }
}

/// Decodes the error of a recorded failure. None: there is no codec, or it cannot decode these bytes.
pub(crate) fn decode_failure<E: 'static>(
    codec: Option<&dyn Codec<E>>,
    recorded: &RecordedResult,
) -> Option<E> {
    let decodes = |codec: &&dyn Codec<E>| codec.accepts().accepts(recorded.payload.content_type.as_str());
    codec.filter(|codec| !recorded.omitted && decodes(codec))?.decode(&recorded.payload).ok()
}

/// Decodes the value of a recorded success, as `once` replays it. Returns an error if its bytes were not stored or
/// cannot be decoded.
pub fn decode_result<T>(codec: &impl Codec<T>, recorded: RecordedResult) -> Result<T, Error> {
    if recorded.omitted {
        return Err(Error::ResultNotStored(Box::new(recorded)));
    }
    codec
        .decode(&recorded.payload)
        .map_err(|source| Error::Undecodable { recorded: Box::new(recorded), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_float_is_replayed_to_its_last_bit() {
        for value in [9.844674407379007e51, 5e-324, f64::MAX, 0.1 + 0.2, f64::MIN_POSITIVE] {
            let payload = Json.encode(&value).unwrap();
            let read: f64 = Json.decode(&payload).unwrap();
            assert_eq!(read.to_bits(), value.to_bits(), "{value:e}");
        }
    }
}
