//! How results become bytes.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::payload::Payload;

/// Why a result could not be encoded or decoded.
pub type CodecError = Box<dyn std::error::Error + Send + Sync>;

/// Turns results into bytes and back.
pub trait Codec<T>: Send + Sync + 'static {
    /// Encodes a result. An error leaves the bytes out: the execution is complete all the same.
    fn encode(&self, value: &T) -> Result<Payload, CodecError>;
    /// Decodes a recorded result.
    fn decode(&self, payload: &Payload) -> Result<T, CodecError>;
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
