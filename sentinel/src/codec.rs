//! Results as bytes: JSON unless a call sets another codec.

pub use sentinel_client::{Codec, CodecError, Json, Raw, decode_result, encode_checked, encode_result};
