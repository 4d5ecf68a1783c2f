//! Stories of generated histories, and of scenes that are written down.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its start state has failed")]

mod because;
mod histories;
mod scene;
mod scenes;
mod settling;
