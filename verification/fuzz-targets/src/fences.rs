//! The field `Sentinel-Fence`, which a stranger may write.

use sentinel_http::fuzzing::reread_fence;

/// A fence is read the same after it is written again.
pub(crate) fn fences(data: &[u8]) {
    assert_ne!(reread_fence(data), Some(false), "{:?}", String::from_utf8_lossy(data));
}
