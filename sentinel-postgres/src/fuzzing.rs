//! The entry points of this workspace's fuzz targets.

/// Whether a URL is valid, and the error for one that is not.
pub fn url(text: &str) -> Result<(), String> {
    crate::url::parse(text).map(drop)
}
