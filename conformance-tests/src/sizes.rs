//! How much a run of the suite does.

/// How much the generated layers and the matrix do: the options of [`suite!`](crate::suite!).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Generated sequences that are compared with the kernel.
    pub sequences: u32,
    /// Concurrent histories that are recorded and judged.
    pub histories: u32,
    /// Of the start states from which the matrix asks, each operation meets one of so many: 1 is all of them. For one more
    /// way to a store that meets all of them elsewhere.
    pub matrix_share: u32,
    /// 2: each law is asked through one handle, and again through two in turn. 1: once, through two handles in turn. For
    /// one more way to a store that is asked twice elsewhere.
    pub law_passes: u32,
}

impl Sizes {
    /// What `suite!` does without options.
    pub const DEFAULT: Self = Self { sequences: 200, histories: 50, matrix_share: 1, law_passes: 2 };
}

impl Default for Sizes {
    fn default() -> Self {
        Self::DEFAULT
    }
}
