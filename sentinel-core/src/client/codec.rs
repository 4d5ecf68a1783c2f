//! How results become bytes.

use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::outcome::Error;
use crate::payload::{Accepts, Payload, Recorded};

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
}

impl Codec<Vec<u8>> for Raw {
    fn encode(&self, value: &Vec<u8>) -> Result<Payload, CodecError> {
        Ok(Payload::new(Payload::OCTETS, value.clone()))
    }

    fn decode(&self, payload: &Payload) -> Result<Vec<u8>, CodecError> {
        Ok(payload.bytes.to_vec())
    }
}

impl Codec<Payload> for Raw {
    fn encode(&self, value: &Payload) -> Result<Payload, CodecError> {
        Ok(value.clone())
    }

    fn decode(&self, payload: &Payload) -> Result<Payload, CodecError> {
        Ok(payload.clone())
    }
}

/// A success as it is recorded: what `once` does with its function's value. One that cannot be encoded, or is larger
/// than `limit` bytes, is recorded without its bytes: the execution is complete all the same.
pub fn encode_result<T>(codec: &impl Codec<T>, value: &T, limit: usize) -> Recorded {
    let encoded = std::panic::catch_unwind(AssertUnwindSafe(|| codec.encode(value)));
    let why = match encoded {
        Ok(Ok(payload)) if payload.bytes.len() <= limit => return Recorded::success(payload),
        Ok(Ok(payload)) => format!("{} bytes are over the limit of {limit}", payload.bytes.len()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the codec panicked".to_owned(),
    };
    tracing::warn!(%why, "a result is not stored; the execution is complete without it");
    Recorded { omitted: true, ..Recorded::success(Payload::empty()) }
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
