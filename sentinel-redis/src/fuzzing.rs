//! The entry points of this workspace's fuzz targets.

use bytes::Bytes;
use sentinel_core::{Event, Record, RecordedResult, StoreError};

use crate::row;

/// Reads a URL; the error is the message for one that is not understood.
pub fn url(text: &str) -> Result<(), String> {
    crate::url::parse(text).map(drop)
}

/// A record, with the bytes of its result.
pub fn record(stored: Bytes) -> Result<Record, StoreError> {
    Ok(row::record(stored)?)
}

/// A record whose result may have been cut off.
pub fn record_without_bytes(stored: Bytes) -> Result<Record, StoreError> {
    Ok(row::record_without_bytes(stored)?)
}

/// The fixed part of a record.
pub fn record_head(stored: Bytes) -> Result<Option<Record>, StoreError> {
    Ok(row::record_head(stored)?)
}

/// Events in a row.
pub fn events(log: Bytes) -> Result<Vec<Event>, StoreError> {
    Ok(row::events(log)?)
}

/// A result as it is sent.
pub fn packed_result(result: &RecordedResult) -> Bytes {
    row::packed_result(result)
}
