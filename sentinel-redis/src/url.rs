//! Reading a URL: the servers, in fred's form, and our own parameters.

use fred::types::config::{Config, Server, ServerConfig};
use sentinel_core::EventLimit;

/// Ours. No other program has parameters of these names, so that a URL which is shared cannot mean them by accident.
const PREFIX: &str = "sentinel_key_prefix";
const CA: &str = "sentinel_ca";
const DURABILITY: &str = "sentinel_durability";
const LOSSY: &str = "sentinel_allow_lossy";
const PASSWORD_FILE: &str = "sentinel_password_file";
const EVENTS: &str = "sentinel_max_events";
const OURS: [&str; 6] = [PREFIX, CA, DURABILITY, LOSSY, PASSWORD_FILE, EVENTS];

/// Those that mean something to the driver.
const KNOWN: [&str; 4] = ["node", "sentinelServiceName", "sentinelUsername", "sentinelPassword"];

const SCHEMES: [&str; 7] =
    ["redis", "rediss", "redis-cluster", "rediss-cluster", "redis-sentinel", "rediss-sentinel", "redis+unix"];

/// A URL that was understood.
#[derive(Debug, Clone)]
pub(crate) struct Parsed {
    pub(crate) config: Config,
    pub(crate) tls: bool,
    pub(crate) prefix: Option<String>,
    pub(crate) ca: Option<String>,
    pub(crate) durability: Option<crate::durability::Durability>,
    pub(crate) allow_lossy: bool,
    pub(crate) password_file: Option<String>,
    pub(crate) events: Option<EventLimit>,
}

/// Reads a URL. An error does not quote it, because it may hold a password.
pub(crate) fn parse(url: &str) -> Result<Parsed, String> {
    sentinel_core::check_store_address(url).map_err(|invalid| invalid.to_string())?;
    let (scheme, _) = url.split_once("://").ok_or_else(|| with_form("has no scheme"))?;
    if !SCHEMES.contains(&scheme) {
        return Err(format!("has a scheme that is not known; known are {}", SCHEMES.join(", ")));
    }
    // The driver would drop it and all behind it: half of a password, or a parameter that sets TLS.
    if url.contains('#') {
        return Err("has a #: a # must be written as %23".to_owned());
    }
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    if has_encoded_user(base) {
        return Err(
            "has user and password in its host: they are written before an @ that is not encoded".into()
        );
    }
    let mut ours = [const { None::<String> }; OURS.len()];
    let mut theirs = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match OURS.iter().position(|known| *known == name) {
            Some(n) if ours[n].is_some() => return Err(format!("has {name} twice")),
            Some(n) => ours[n] = Some(value.to_owned()),
            None if KNOWN.contains(&name) => theirs.push(parameter),
            None => return Err(unknown_parameter()),
        }
    }
    let [prefix, ca, durability, lossy, password_file, events] = ours;
    let tls = scheme.starts_with("rediss");
    if ca.is_some() && !tls {
        return Err(format!("has {CA}, and no TLS: write rediss://"));
    }
    let config = config(base, &theirs, tls)?;
    if password_file.is_some() && config.password.is_some() {
        return Err(format!("has a password and {PASSWORD_FILE}: give one of them"));
    }
    Ok(Parsed {
        config,
        tls,
        prefix,
        ca,
        durability: durability.map(|text| level(&text)).transpose()?,
        allow_lossy: lossy.map(|text| yes(&text)).transpose()?.unwrap_or_default(),
        password_file,
        events: events.map(|text| most_events(&text)).transpose()?,
    })
}

/// The certificates are ours to load, so fred reads the URL as one without TLS.
fn config(base: &str, theirs: &[&str], tls: bool) -> Result<Config, String> {
    if tls && cfg!(not(feature = "tls")) {
        return Err("requires TLS, which is not built in: enable the feature `redis-tls`".into());
    }
    let plain = if tls { base.replacen("rediss", "redis", 1) } else { base.to_owned() };
    let (nodes, theirs): (Vec<&str>, Vec<&str>) =
        theirs.iter().partition(|parameter| parameter.starts_with("node="));
    let config = match plain.strip_prefix("redis+unix://") {
        Some(rest) => socket(rest),
        None if theirs.is_empty() => Config::from_url(&plain).ok(),
        None => Config::from_url(&format!("{plain}?{}", theirs.join("&"))).ok(),
    };
    let mut config = config.ok_or_else(|| with_form("cannot be read"))?;
    for node in nodes {
        let server =
            node.strip_prefix("node=").and_then(server).ok_or_else(|| with_form("has an unreadable node"))?;
        match &mut config.server {
            ServerConfig::Clustered { hosts, .. } | ServerConfig::Sentinel { hosts, .. } => {
                hosts.push(server)
            }
            _ => return Err("has a node, and is neither of a cluster nor of Redis Sentinel".into()),
        }
    }
    servers(&mut config.server)
        .iter_mut()
        .for_each(|server| server.host = without_brackets(&server.host).into());
    Ok(config)
}

/// Whether an encoded @ or : makes a host of what is user and password: messages show the host.
fn has_encoded_user(base: &str) -> bool {
    let rest = base.split_once("://").map_or(base, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default().to_ascii_uppercase();
    host.contains("%40") || host.contains("%3A")
}

/// `host:port`. fred itself would split an IPv6 address at its first colon.
fn server(node: &str) -> Option<Server> {
    let node = decoded(node)?;
    let (host, port) = node.rsplit_once(':')?;
    let is_whole = !host.is_empty() && (host.starts_with('[') == host.ends_with(']'));
    let port = port.parse().ok().filter(|port| *port > 0)?;
    is_whole.then(|| Server::new(host, port))
}

fn servers(config: &mut ServerConfig) -> &mut [Server] {
    match config {
        ServerConfig::Centralized { server } => std::slice::from_mut(server),
        ServerConfig::Clustered { hosts, .. } | ServerConfig::Sentinel { hosts, .. } => hosts,
        ServerConfig::Unix { .. } => &mut [],
    }
}

/// A URL has an IPv6 address in brackets. A socket's address has none, nor has the name in a certificate.
fn without_brackets(host: &str) -> String {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned()
}

/// `user:password@/path/to/socket`. There is no host, so that fred would not read a password.
fn socket(rest: &str) -> Option<Config> {
    let (who, path) = rest.split_at(rest.find('/')?);
    if !who.is_empty() && !who.ends_with('@') {
        return None;
    }
    let mut config = Config::from_url(&format!("redis://{who}localhost")).ok()?;
    config.server = ServerConfig::Unix { path: decoded(path)?.into() };
    Some(config)
}

/// Decodes percent-encoded text.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

fn level(text: &str) -> Result<crate::durability::Durability, String> {
    let (kind, replicas) = text.split_once(':').unwrap_or((text, "0"));
    match (kind, replicas.parse()) {
        ("replicas", Ok(replicas)) if replicas > 0 => Ok(crate::durability::Durability::Replicas(replicas)),
        ("disk", Ok(replicas)) => Ok(crate::durability::Durability::Disk { replicas }),
        ("server", Ok(0)) => Ok(crate::durability::Durability::Server),
        _ => Err(format!("has a {DURABILITY} that is none of server, replicas:N, disk, disk:N")),
    }
}

fn most_events(text: &str) -> Result<EventLimit, String> {
    let number = text.parse().ok();
    number.and_then(|number| EventLimit::new(number).ok()).ok_or_else(|| {
        let (least, most) = (EventLimit::MIN, EventLimit::MAX);
        format!("has a {EVENTS} that is no number from {least} to {most}")
    })
}

fn yes(text: &str) -> Result<bool, String> {
    match text {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(format!("has a {LOSSY} that is neither yes nor no")),
    }
}

fn with_form(what: &str) -> String {
    format!("{what}; write redis://user:password@host:port/database")
}

fn unknown_parameter() -> String {
    format!(
        "has an unknown parameter, which would be ignored; known are {}, {}",
        OURS.join(", "),
        KNOWN.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_is_a_host_without_its_brackets() {
        let hosts = |url: &str| -> Vec<(String, u16)> {
            let mut config = parse(url).unwrap().config.server;
            servers(&mut config).iter().map(|server| (server.host.to_string(), server.port)).collect()
        };
        assert_eq!(hosts("redis://[::1]:6380/0"), [("::1".to_owned(), 6380)]);
        let two = [("fe80::1".to_owned(), 1), ("::1".to_owned(), 2)];
        assert_eq!(hosts("redis-cluster://[fe80::1]:1?node=[::1]:2"), two);
        assert_eq!(hosts("redis-cluster://[fe80::1]:1?node=%5B::1%5D:2&sentinel_key_prefix=a"), two);
        assert_eq!(hosts("redis-sentinel://[fe80::1]:1?node=[::1]:2&sentinelServiceName=a"), two);
        for bad in ["redis-cluster://h?node=h", "redis-cluster://h?node=[::1:2", "redis-cluster://h?node=:2"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("redis://h?node=i:2").is_err(), "it would be ignored");
    }

    #[test]
    fn a_raw_number_sign_and_an_encoded_user_in_the_host_are_refused() {
        for bad in [
            "redis://u:12#3@h/0",
            "redis://h/0#x",
            "redis://h#hunter2",
            "redis+unix:///s#x",
            "redis-cluster://h?node=i:1#x",
        ] {
            let why = parse(bad).unwrap_err();
            assert!(why.contains("%23") && !why.contains("hunter2"), "{bad}: {why}");
        }
        for bad in ["redis://me%3Ahunter2%40h/0", "redis://me%3ahunter2@i%3a1", "redis://u:p@me%40h"] {
            let why = parse(bad).unwrap_err();
            assert!(why.contains("before an @") && !why.contains("hunter2"), "{bad}: {why}");
        }
        assert!(parse("redis://u:a%23%40%3A@h/0").is_ok());
    }

    #[test]
    fn blanks_around_a_url_and_control_characters_in_it_are_refused() {
        for bad in ["redis://h\n", " redis://h", "rediss://h\t", "redis-cluster://h ", "redis+unix:///a\r"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn our_parameters_do_not_reach_the_driver() {
        let parsed =
            parse("redis://me:pw@h:7/3?sentinel_key_prefix=a&sentinel_durability=replicas:2").unwrap();
        assert_eq!((parsed.prefix.as_deref(), parsed.tls), (Some("a"), false));
        assert_eq!(parsed.durability, Some(crate::durability::Durability::Replicas(2)));
        assert_eq!(parsed.config.database, Some(3));
        assert_eq!(parsed.config.username.as_deref(), Some("me"));
        assert!(parse("redis-cluster://h:1?node=h:2").unwrap().config.server.is_clustered());
    }

    #[test]
    fn durability_and_allow_lossy_are_read() {
        use crate::durability::Durability::{Disk, Replicas, Server};
        let read = |query: &str| parse(&format!("redis://h?{query}")).unwrap();
        for (text, level) in [
            ("server", Server),
            ("replicas:1", Replicas(1)),
            ("disk", Disk { replicas: 0 }),
            ("disk:2", Disk { replicas: 2 }),
        ] {
            assert_eq!(read(&format!("sentinel_durability={text}")).durability, Some(level));
        }
        for (text, allowed) in [("yes", true), ("true", true), ("no", false), ("false", false)] {
            assert_eq!(read(&format!("sentinel_allow_lossy={text}")).allow_lossy, allowed);
        }
        assert_eq!(read("sentinel_max_events=8").events, EventLimit::new(8).ok());
        let silent = read("");
        assert_eq!((silent.durability, silent.allow_lossy), (None, false));
        for bad in ["replicas", "replicas:0", "replicas:x", "disk:x", "server:1", "server:x", ""] {
            assert!(parse(&format!("redis://h?sentinel_durability={bad}")).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_refusal_lists_the_known_parameters() {
        let why = parse("redis://h?timeout=1").err().unwrap_or_default();
        assert!(OURS.iter().chain(&KNOWN).all(|known| why.contains(known)), "{why}");
    }

    #[test]
    fn a_socket_is_a_path_and_has_a_password_too() {
        let read = |url| parse(url).unwrap().config;
        let path = |path: &str| ServerConfig::Unix { path: path.into() };
        assert_eq!(read("redis+unix:///tmp/x.sock").server, path("/tmp/x.sock"));
        assert_eq!(read("redis+unix:///tmp/x.sock").password, None);
        let config = read("redis+unix://me:p%40%2F@/tmp/a%20b?sentinel_key_prefix=a");
        assert_eq!((config.username.as_deref(), config.password.as_deref()), (Some("me"), Some("p@/")));
        assert_eq!(config.server, path("/tmp/a b"));
        for bad in
            ["redis+unix://me:p/w@/tmp/x", "redis+unix://me", "redis+unix:///tmp/%2", "redis+unix:///tmp/%é"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_parameter_is_refused_and_not_quoted() {
        for bad in [
            "redis://h?timeout=hunter2",
            "redis://h?sentinel_prefix=hunter2",
            "redis://h?sentinel_ca=a",
            "redis://me:hunter2@h?sentinel_password_file=a",
            "redis://h?sentinel_allow_lossy=hunter2",
            "redis://h?sentinel_durability=hunter2",
            "redis://h?sentinel_key_prefix=a&sentinel_key_prefix=hunter2",
            "redis://h?sentinel_max_events=7",
            "redis://h?sentinel_max_events=hunter2",
            "redis://me:1?hunter2@h",
            "redis://h:hunter2/0",
            "hunter2",
            "hunter2://h",
        ] {
            let why = parse(bad).unwrap_err();
            assert!(!why.contains("hunter2"), "{bad}: {why}");
        }
    }
}
