//! What a function's result is recorded as.

use sentinel_core::Recorded;

use crate::outcome::NotStored;

/// A function's result as it is recorded, and the reason if its bytes are left out.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) recorded: Recorded,
    pub(crate) not_stored: Option<NotStored>,
}

impl From<Recorded> for Ended {
    fn from(recorded: Recorded) -> Self {
        Self { recorded, not_stored: None }
    }
}
