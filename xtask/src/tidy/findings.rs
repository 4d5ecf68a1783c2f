//! What the checks find.

/// What is wrong, each with its place.
pub(crate) type Findings = Vec<String>;
