//! A store's address: `sqlite:PATH`, with options behind a question mark. What is not known is refused.

use std::path::PathBuf;

use sentinel_core::{EventLimit, Invalid, check_store_address};

/// What an address names; None: the option is not in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) path: PathBuf,
    pub(crate) create: Option<bool>,
    pub(crate) allow_other_names: Option<bool>,
    pub(crate) allow_network_filesystem: Option<bool>,
    pub(crate) accept_lost_log: Option<bool>,
    pub(crate) max_events: Option<EventLimit>,
}

type Field = fn(&mut Url) -> &mut Option<bool>;

/// Those that are `true` or `false`.
const SWITCHES: [(&str, Field); 4] = [
    ("sentinel_create", |url| &mut url.create),
    ("sentinel_allow_other_names", |url| &mut url.allow_other_names),
    ("sentinel_allow_network_filesystem", |url| &mut url.allow_network_filesystem),
    ("sentinel_accept_lost_log", |url| &mut url.accept_lost_log),
];
const MAX_EVENTS: &str = "sentinel_max_events";

/// Reads an address. The path is taken literally: no escapes, and no blanks around it.
pub(crate) fn parse(address: &str) -> Result<Url, Invalid> {
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
        return refuse("has a path that begins or ends with white space");
    }
    if path.is_empty() || path.ends_with('/') || path == "." || path == ".." {
        return refuse("must be sqlite: and the path of a file");
    }
    if path.starts_with(":memory:") || path.starts_with("file:") {
        return refuse("must name a file: a store in memory would lose the record that a command ran");
    }
    let mut url = Url { path: path.into(), ..Url::default() };
    if let Some(options) = options {
        set_options(&mut url, options)?;
    }
    Ok(url)
}

fn set_options(url: &mut Url, options: &str) -> Result<(), Invalid> {
    let mut names = Vec::new();
    for option in options.split('&') {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        if names.contains(&name) {
            return Err(refused(format!("has {name} twice")));
        }
        names.push(name);
        set_option(url, name, value)?;
    }
    Ok(())
}

fn set_option(url: &mut Url, name: &str, value: &str) -> Result<(), Invalid> {
    if name == MAX_EVENTS {
        let number = value.parse().map_err(|_| refused(format!("has {name} that is not a number")))?;
        url.max_events = Some(EventLimit::new(number)?);
        return Ok(());
    }
    let Some((_, field)) = SWITCHES.iter().find(|(known, _)| *known == name) else {
        let known = SWITCHES.map(|(name, _)| name).join(", ");
        let why = "which is not known (a path has no question mark)";
        return Err(refused(format!("has the option {name:?}, {why}; known are {known}, {MAX_EVENTS}")));
    };
    *field(url) = match value {
        "true" => Some(true),
        "false" => Some(false),
        _ => return Err(refused(format!("has {name} that is neither true nor false"))),
    };
    Ok(())
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
            assert_eq!(parse(address).unwrap().path, Path::new(path), "{address}");
        }
    }

    #[test]
    fn an_unknown_or_malformed_address_is_refused() {
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
