//! Times in output.

pub(crate) use sentinel::admin::time::{rfc3339, short};
