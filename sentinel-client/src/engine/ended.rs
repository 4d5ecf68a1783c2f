//! The form in which a function's result is recorded.

use sentinel_core::RecordedResult;

use crate::outcome::NotStored;

/// A function's result as it is recorded, and the reason if its bytes are left out.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) recorded: RecordedResult,
    pub(crate) not_stored: Option<NotStored>,
}

impl From<RecordedResult> for Ended {
    fn from(recorded: RecordedResult) -> Self {
        Self { recorded, not_stored: None }
    }
}
