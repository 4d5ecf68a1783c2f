//! A store's address: `sqlite:PATH`, with options behind a question mark. What is not known is refused.

use sentinel_core::{EventLimit, Invalid, check_store_address};

use crate::store::{SqliteStore, SqliteStoreBuilder};

type Set = fn(SqliteStoreBuilder, bool) -> SqliteStoreBuilder;

/// Those that are `true` or `false`.
const SWITCHES: [(&str, Set); 4] = [
    ("sentinel_create", SqliteStoreBuilder::create),
    ("sentinel_allow_other_names", SqliteStoreBuilder::allow_other_names),
    ("sentinel_allow_network_filesystem", SqliteStoreBuilder::allow_network_filesystem),
    ("sentinel_accept_lost_log", SqliteStoreBuilder::accept_lost_log),
];
const MAX_EVENTS: &str = "sentinel_max_events";

/// Reads an address. The path is taken literally: no escapes, and no blanks around it.
pub(crate) fn parse(address: &str) -> Result<SqliteStoreBuilder, Invalid> {
    let refuse = |why: &str| Err(refused(why));
    check_store_address(address)?;
    let Some(rest) = address.strip_prefix("sqlite:") else {
        return refuse("does not begin with sqlite:");
    };
    // Many tools write sqlite:///absolute and sqlite://relative.
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, options) = match rest.split_once('?') {
        Some((path, options)) => (path, Some(options)),
        None => (rest, None),
    };
    if path.trim() != path {
        return refuse("holds a path that begins or ends with a blank");
    }
    if path.is_empty() || path.ends_with('/') || path == "." || path == ".." {
        return refuse("must be sqlite: and the path of a file");
    }
    if path.starts_with(":memory:") || path.starts_with("file:") {
        return refuse("must name a file: a store in memory would forget that a command ran");
    }
    options
        .map_or(Ok(SqliteStore::builder(path)), |options| with_options(SqliteStore::builder(path), options))
}

fn with_options(mut builder: SqliteStoreBuilder, options: &str) -> Result<SqliteStoreBuilder, Invalid> {
    let mut seen = Vec::new();
    for option in options.split('&') {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        if seen.contains(&name) {
            return Err(refused(format!("has {name} twice")));
        }
        seen.push(name);
        builder = with_option(builder, name, value)?;
    }
    Ok(builder)
}

fn with_option(builder: SqliteStoreBuilder, name: &str, value: &str) -> Result<SqliteStoreBuilder, Invalid> {
    if name == MAX_EVENTS {
        let number = value.parse().map_err(|_| refused(format!("has {name} that is not a number")))?;
        return Ok(builder.max_events(EventLimit::new(number)?));
    }
    let Some((_, set)) = SWITCHES.iter().find(|(known, _)| *known == name) else {
        let known = SWITCHES.map(|(name, _)| name).join(", ");
        let why = "which is not known (a path has no question mark)";
        return Err(refused(format!("has the option {name:?}, {why}; known are {known}, {MAX_EVENTS}")));
    };
    match value {
        "true" => Ok(set(builder, true)),
        "false" => Ok(set(builder, false)),
        _ => Err(refused(format!("has {name} that is neither true nor false"))),
    }
}

fn refused(why: impl Into<String>) -> Invalid {
    Invalid::new("the store's address", why)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_path_is_taken_literally() {
        for (address, path) in [
            ("sqlite:x.db", "x.db"),
            ("sqlite:/a/b.db", "/a/b.db"),
            ("sqlite:///a/b.db", "/a/b.db"),
            ("sqlite://a/b.db", "a/b.db"),
            ("sqlite:my file%20#1.db", "my file%20#1.db"),
            ("sqlite:a.db?sentinel_create=false", "a.db"),
        ] {
            assert_eq!(parse(address).unwrap().path(), Path::new(path), "{address}");
        }
    }

    #[test]
    fn options_are_known_or_refused() {
        let set =
            parse("sqlite:a?sentinel_allow_other_names=true&sentinel_create=false&sentinel_max_events=9");
        let limit = EventLimit::new(9).unwrap();
        let same = SqliteStore::builder("a").allow_other_names(true).create(false).max_events(limit);
        assert_eq!(format!("{:?}", set.unwrap()), format!("{same:?}"));
        for bad in [
            "sqlite:",
            "sqlite://",
            "sqlite:a/",
            "sqlite:.",
            "sqlite::memory:",
            "sqlite:file:a",
            "sqlite: a",
            "sqlite:a ?sentinel_create=true",
            "sqlite:a\n",
            "sqlite:a\tb",
            " sqlite:a",
            "sqlite:a?",
            "sqlite:a?mode=rwc",
            "sqlite:a?sentinel_create",
            "sqlite:a?sentinel_create=yes",
            "sqlite:a?sentinel_create=true&sentinel_create=true",
            "sqlite:a?sentinel_create=true&",
            "sqlite:a?b?sentinel_create=true",
            "sqlite:a?sentinel_max_events=7",
            "sqlite:a?sentinel_max_events=x",
            "SQLITE:a",
            "a.db",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
