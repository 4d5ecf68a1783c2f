//! What this check finds.

/// A banned word in a file.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) word: String,
    pub(super) instead: String,
}

impl Finding {
    pub(super) fn message(&self) -> String {
        let Self { path, line, word, instead } = self;
        format!("{path}:{line}: `{word}` is not a word of this repository; write: {instead}")
    }
}
