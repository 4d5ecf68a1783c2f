//! How much a run of the suite does.

/// How much the generated layers and the matrix do: the options of [`suite!`](crate::suite!).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Generated sequences that are compared with the kernel.
    pub sequences: u32,
    /// Concurrent histories that are recorded and checked.
    pub histories: u32,
    /// Each operation runs from one in this number of the start states of the matrix: 1 is all of them. A larger number
    /// is for a further deployment of a store that runs all of them elsewhere.
    pub matrix_share: u32,
    /// 2: each law runs through one handle, and again through two in turn. 1: once, through two handles in turn, for a
    /// further deployment of a store whose laws run twice elsewhere.
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
