//! The request field `Prefer` (RFC 7240), as far as the layer honours it.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

/// The response field that names the preferences that were honoured.
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What a caller prefers. The first statement of a preference counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Preferences {
    /// The longest time to wait for a run in progress.
    pub(crate) wait: Option<Duration>,
    /// An answer at once, with the address at which the result will be.
    pub(crate) respond_async: bool,
}

impl Preferences {
    /// The preferences of a request. What cannot be read is not a preference, and never an error.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        let fields = headers.get_all(PREFER).iter().filter_map(|field| field.to_str().ok());
        for preference in fields.flat_map(|field| field.split(',')) {
            let statement = preference.split(';').next().unwrap_or_default();
            let (name, value) = statement.split_once('=').unwrap_or((statement, ""));
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "wait" if found.wait.is_none() => found.wait = value.parse().ok().map(Duration::from_secs),
                "respond-async" => found.respond_async = true,
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(fields: &[&str]) -> Preferences {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(PREFER, HeaderValue::from_str(field).unwrap());
        }
        Preferences::of(&headers)
    }

    #[test]
    fn preferences_are_read_from_any_number_of_fields() {
        let wait = |seconds| Some(Duration::from_secs(seconds));
        for (fields, expected) in [
            (&["wait=5"][..], Preferences { wait: wait(5), respond_async: false }),
            (&["respond-async, wait = \"7\""], Preferences { wait: wait(7), respond_async: true }),
            (&["Wait=3; x=y", "Respond-Async"], Preferences { wait: wait(3), respond_async: true }),
            (&["wait=1, wait=9"], Preferences { wait: wait(1), respond_async: false }),
            (&["wait=soon", "wait=-1", "wait", "return=minimal", ""], Preferences::default()),
            (&[], Preferences::default()),
        ] {
            assert_eq!(of(fields), expected, "{fields:?}");
        }
    }
}
