//! What functions return, as bytes and back.

use bytes::Bytes;
use sentinel_client::{Codec as _, Json, Raw, decode_result, encode_result};
use sentinel_core::{Payload, RecordedResult};
use serde_json::Value;

/// What decodes encodes again, and decodes to the same; what is too large is recorded without its bytes.
pub(crate) fn payloads(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    json(&bytes);
    let raw = Raw.encode(&bytes).expect("bytes are bytes");
    assert_eq!(Raw.decode(&raw).ok(), Some(bytes.clone()));
    limited(&bytes);
    if let Ok(recorded) = serde_json::from_slice::<RecordedResult>(data) {
        let again = serde_json::to_vec(&recorded).expect("a result is JSON");
        assert_eq!(serde_json::from_slice::<RecordedResult>(&again).ok(), Some(recorded));
    }
}

fn json(bytes: &Bytes) {
    let payload = Payload::new("application/json", bytes.clone());
    if let Ok(value) = Json.decode(&payload) {
        let value: Value = value;
        let again = Json.encode(&value).expect("a JSON value is JSON");
        let read: Value = Json.decode(&again).expect("what was encoded decodes");
        assert_eq!(read, value);
    }
    let _: Result<Vec<Option<String>>, _> = Json.decode(&payload);
    let _: Result<(u64, f64), _> = Json.decode(&payload);
}

fn limited(bytes: &Bytes) {
    let limit = usize::from(bytes.first().copied().unwrap_or_default());
    let recorded = encode_result(&Raw, bytes, limit);
    assert_eq!(recorded.omitted, bytes.len() > limit);
    assert_eq!(recorded.digest(), recorded.clone().digest());
    if recorded.omitted {
        assert!(recorded.payload.bytes.is_empty() && decode_result::<Bytes>(&Raw, recorded).is_err());
    } else {
        assert_eq!(decode_result::<Bytes>(&Raw, recorded).ok().as_ref(), Some(bytes));
    }
}
