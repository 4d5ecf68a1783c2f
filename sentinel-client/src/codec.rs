//! How results become bytes.

use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use sentinel_core::{Accepts, Payload, Recorded};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::faithful;
use super::outcome::{Error, NotStored};

/// Why a result could not be encoded or decoded.
pub type CodecError = Box<dyn std::error::Error + Send + Sync>;

/// Turns results into bytes and back.
pub trait Codec<T>: Send + Sync + 'static {
    /// Encodes a result. An error leaves the bytes out: the execution is complete all the same.
    fn encode(&self, value: &T) -> Result<Payload, CodecError>;
    /// Decodes a recorded result.
    fn decode(&self, payload: &Payload) -> Result<T, CodecError>;
    /// The content types that [`decode`](Self::decode) can read; any unless a codec says otherwise. The claim records
    /// them, and a decision by hand with bytes of another content type is refused.
    fn accepts(&self) -> Accepts {
        Accepts::any()
    }

    /// Checks, before a result is recorded, that a replay gives the same value. An error says what differs: the result is
    /// then left out, and the call answers [`Outcome::CompletedNotStored`](super::Outcome::CompletedNotStored).
    ///
    /// As it is written here, it decodes and encodes again, and compares the bytes. The order of bytes does not count,
    /// since a map may be visited in another order. Values that have equal bytes to begin with are not told apart.
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

    /// Decodes, and compares what `serde` shows of both values: JSON writes `Some(NaN)`, `Some(None)` and `None` alike.
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

/// Bytes as they are: for `Bytes`, `Vec<u8>`, and `Payload`, which brings its own content type.
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

/// A success as it is recorded: what `once` does with its function's value. One that cannot be encoded, is larger than
/// `limit` bytes, or would be replayed as another value, is recorded without its bytes: the execution is complete all the
/// same. [`encode_checked`] says why.
pub fn encode_result<T>(codec: &impl Codec<T>, value: &T, limit: usize) -> Recorded {
    encode_checked(codec, value, limit).0
}

/// The same, and why the bytes are left out, if they are.
pub fn encode_checked<T>(codec: &impl Codec<T>, value: &T, limit: usize) -> (Recorded, Option<NotStored>) {
    let encoding = AssertUnwindSafe(|| encode(codec, value, limit));
    let panicked = |_| Err(NotStored::NotEncodable("the codec panicked".into()));
    match std::panic::catch_unwind(encoding).unwrap_or_else(panicked) {
        Ok(payload) => (Recorded::success(payload), None),
        Err(why) => {
            tracing::warn!(%why, "the execution is complete without its result");
            (Recorded { omitted: true, ..Recorded::success(Payload::empty()) }, Some(why))
        }
    }
}

fn encode<T>(codec: &impl Codec<T>, value: &T, limit: usize) -> Result<Payload, NotStored> {
    let payload = codec.encode(value).map_err(NotStored::NotEncodable)?;
    let bytes = payload.bytes.len();
    if bytes > limit {
        return Err(NotStored::TooLarge { bytes, limit });
    }
    codec.check(value, &payload).map_err(|error| NotStored::Unfaithful(error.to_string()))?;
    Ok(payload)
}

/// The value of a recorded success, as `once` replays it.
pub fn decode_result<T>(codec: &impl Codec<T>, recorded: Recorded) -> Result<T, Error> {
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
