//! What follows `scheme://`: enough of it to refuse a URL that cannot be meant, without quoting what may be a password.

/// Which part of a URL locates the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerLocation {
    /// A host, and perhaps a port.
    Host,
    /// The same, or a few of them, or a parameter, as in `postgres:///database?host=/run/postgresql`.
    HostOrParameter,
    /// The path of a socket.
    Path,
}

/// Checks what follows `scheme://`, and gives it back without user, password and parameters.
pub(super) fn server(rest: &str, location: ServerLocation) -> Result<String, &'static str> {
    if rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("it holds a space or a control character");
    }
    // A driver drops it, and all behind it: a half of a password, or a parameter that sets TLS.
    if rest.contains('#') {
        return Err("a # must be written as %23");
    }
    let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = before_query.split_once('/').unwrap_or((before_query, ""));
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if path.contains('@') || authority.matches('@').count() > 1 {
        return Err("a password's @ and / must be written as %40 and %2F");
    }
    if !is_escaped(rest.as_bytes()) {
        return Err("a % must be followed by two hexadecimal digits");
    }
    let named = |parameter: &str| parameter.strip_prefix("host=").is_some_and(|host| !host.is_empty());
    match location {
        ServerLocation::Path if !host_port.is_empty() => {
            return Err("a socket has no host: its path begins with /");
        }
        ServerLocation::Path if path.is_empty() => return Err("it names no socket"),
        ServerLocation::Path => return Ok(format!("/{path}")),
        ServerLocation::HostOrParameter if authority.is_empty() && query.split('&').any(named) => {
            return Ok(format!("/{path}"));
        }
        ServerLocation::Host if host_port.contains(',') => {
            return Err("other servers are named by ?node=host:port");
        }
        ServerLocation::Host | ServerLocation::HostOrParameter => hosts(host_port)?,
    }
    Ok(if path.is_empty() { host_port.to_owned() } else { format!("{host_port}/{path}") })
}

/// Which tables or which keys the store has is a part of its name. What was checked is no password.
pub(super) fn with_ours(url: &str, shown: String) -> String {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let ours: Vec<&str> = query.split('&').filter(|parameter| parameter.starts_with("sentinel_")).collect();
    if ours.is_empty() { shown } else { format!("{shown}?{}", ours.join("&")) }
}

fn is_escaped(bytes: &[u8]) -> bool {
    let digits =
        |at: usize| bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    (0..bytes.len()).all(|at| bytes[at] != b'%' || digits(at))
}

/// Whether an encoded character makes a host of what is user and password: the host is shown. The directory of a socket
/// may be a host, and begins with an encoded slash.
fn hides_a_password(host: &str) -> bool {
    let host = host.to_ascii_uppercase();
    let host = host.strip_prefix("%2F").map_or(host.clone(), |rest| rest.replace("%2F", "/"));
    ["%40", "%3A", "%2F", "%25"].iter().any(|encoded| host.contains(encoded))
}

fn hosts(list: &str) -> Result<(), &'static str> {
    for one in list.split(',') {
        let (host, port) = match one.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']').ok_or("a [ has no ]")?,
            None => one.find(':').map_or((one, ""), |colon| one.split_at(colon)),
        };
        if host.is_empty() {
            return Err("it names no host");
        }
        if hides_a_password(host) {
            return Err("user and password are written before an @ that is not encoded");
        }
        let number = port.strip_prefix(':').map(str::parse::<u16>);
        if !(port.is_empty() || matches!(number, Some(Ok(1..)))) {
            return Err("its port is not a number from 1 to 65535");
        }
    }
    Ok(())
}
