//! URLs of stores. The error about a URL that is not understood never includes its password.

const PASSWORD: &str = "hunter2";

/// Each text as a URL, and as the parts around a password.
pub(crate) fn urls(data: &[u8]) {
    let text = &*String::from_utf8_lossy(data);
    let parsers = [sentinel_postgres::fuzzing::url, sentinel_redis::fuzzing::url];
    parsers.iter().for_each(|parse| drop(parse(text)));
    let (before, after) = text.split_once('@').unwrap_or((text, "h"));
    let (scheme, user) = before.split_once("//").unwrap_or(("", before));
    for scheme in [scheme, "postgres:", "redis:", "rediss-cluster:", "redis+unix:"] {
        let url = format!("{scheme}//{user}:{PASSWORD}@{after}");
        let errors = parsers.iter().filter_map(|parse| parse(&url).err());
        errors.for_each(|error| assert!(!error.contains(PASSWORD), "{url:?}: {error}"));
    }
}
