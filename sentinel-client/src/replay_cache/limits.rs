//! How much a cache of results keeps.

/// The limits of a [`ReplayCache`](crate::ReplayCache). When it is full, entries that are requested least are evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayLimits {
    /// The number of entries: completed results, and executions in flight whose results are still to come.
    pub entries: usize,
    /// The total size in bytes: results with their keys, and about 400 bytes for each entry.
    pub bytes: usize,
    /// The size of the largest result in bytes. A larger one is not remembered.
    pub largest: usize,
}

impl Default for ReplayLimits {
    /// 16,384 entries, 64 MiB, results of up to 64 KiB.
    fn default() -> Self {
        Self { entries: 1 << 14, bytes: 64 << 20, largest: 64 << 10 }
    }
}
