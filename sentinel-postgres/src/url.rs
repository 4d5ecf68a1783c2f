//! URLs: how to connect, with parameters as libpq has them, and where the tables are, with parameters of our own.

use std::str::FromStr as _;

use sentinel_core::{EventLimit, check_store_address};
use sqlx::postgres::PgConnectOptions;

/// The parameters that mean something to the driver. It ignores all others, and a `sslmode` that was misspelt must not
/// be.
const KNOWN: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// Ours. No other program has parameters of these names, so that a URL which is shared cannot mean them by accident.
const SCHEMA: &str = "sentinel_schema";
const PREFIX: &str = "sentinel_table_prefix";
const MAX_EVENTS: &str = "sentinel_max_events";
const CONNECTIONS: &str = "sentinel_connections";

/// A URL that was understood.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) options: PgConnectOptions,
    pub(crate) schema: Option<String>,
    pub(crate) prefix: Option<String>,
    pub(crate) max_events: Option<EventLimit>,
    pub(crate) connections: Option<usize>,
}

const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// Reads a URL. An error does not quote the URL, which may hold a password.
pub(crate) fn parse(url: &str) -> Result<Parsed, String> {
    check_store_address(url).map_err(|invalid| invalid.to_string())?;
    // The driver would drop it and all behind it: half of a password, or a parameter that sets TLS.
    if url.contains('#') {
        return Err("has a #: a # must be written as %23".to_owned());
    }
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    if has_encoded_user(base) {
        return Err(
            "has user and password in its host: they are written before an @ that is not encoded".to_owned()
        );
    }
    let (mut schema, mut prefix, mut max_events, mut connections) = (None, None, None, None);
    let mut theirs = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            SCHEMA => once(SCHEMA, schema.replace(value.to_owned()))?,
            PREFIX => once(PREFIX, prefix.replace(value.to_owned()))?,
            MAX_EVENTS => once(MAX_EVENTS, max_events.replace(limit(value)?))?,
            CONNECTIONS => once(CONNECTIONS, connections.replace(number(value)?))?,
            name if is_known(name) => theirs.push(parameter),
            _ => return Err(unknown_parameter()),
        }
    }
    let shape = "must be postgres://user:password@host:port/database, with parameters as libpq has them";
    // sqlx takes any scheme.
    if !SCHEMES.iter().any(|scheme| base.starts_with(scheme)) {
        return Err(shape.to_owned());
    }
    let url = if theirs.is_empty() { base.to_owned() } else { format!("{base}?{}", theirs.join("&")) };
    let options = PgConnectOptions::from_str(&url).map_err(|_| shape.to_owned())?;
    Ok(Parsed { options: without_brackets(options), schema, prefix, max_events, connections })
}

/// Whether an encoded @ or : makes a host of what is user and password: messages show the host.
fn has_encoded_user(base: &str) -> bool {
    let rest = base.split_once("://").map_or(base, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default().to_ascii_uppercase();
    host.contains("%40") || host.contains("%3A")
}

/// A URL has an IPv6 address in brackets, and a socket's address has none: the driver would look up `[::1]` as a name.
fn without_brackets(options: PgConnectOptions) -> PgConnectOptions {
    let host =
        options.get_host().strip_prefix('[').and_then(|host| host.strip_suffix(']')).map(str::to_owned);
    match host {
        Some(host) => options.host(&host),
        None => options,
    }
}

fn is_known(name: &str) -> bool {
    KNOWN.contains(&name) || name.starts_with("options[") || name.starts_with("options%5B")
}

fn limit(value: &str) -> Result<EventLimit, String> {
    let number = value.parse().map_err(|_| format!("has {MAX_EVENTS} that is not a number"))?;
    EventLimit::new(number).map_err(|invalid| format!("has {MAX_EVENTS}: {invalid}"))
}

fn number(value: &str) -> Result<usize, String> {
    value.parse().map_err(|_| format!("has {CONNECTIONS} that is not a number"))
}

fn once<T>(name: &str, before: Option<T>) -> Result<(), String> {
    before.map_or(Ok(()), |_| Err(format!("has {name} twice")))
}

fn unknown_parameter() -> String {
    format!(
        "has an unknown parameter, which would be ignored; known are {SCHEMA}, {PREFIX}, {MAX_EVENTS}, \
         {CONNECTIONS}, {}",
        KNOWN.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_drivers_parameters_reach_the_driver() {
        let url = "postgres://me:pw@h:7/db?sentinel_schema=a&sslmode=disable&sentinel_table_prefix=b_&options=-c%20x=1";
        let parsed = parse(url).unwrap();
        assert_eq!((parsed.schema.as_deref(), parsed.prefix.as_deref()), (Some("a"), Some("b_")));
        assert_eq!((parsed.options.get_host(), parsed.options.get_port()), ("h", 7));
        assert_eq!(parsed.options.get_options(), Some("-c x=1"));
        assert!(matches!(parsed.options.get_ssl_mode(), sqlx::postgres::PgSslMode::Disable));
        assert!(parse("postgresql://h/db").is_ok());
        let plain = parse("postgres:///db?host=/run/x").unwrap();
        assert_eq!(plain.options.get_socket().map(|path| path.as_os_str()), Some("/run/x".as_ref()));
        assert!(plain.schema.is_none() && plain.prefix.is_none());
    }

    #[test]
    fn a_url_sets_how_many_events_are_kept() {
        let limit = |value: &str| parse(&format!("postgres://h/db?sentinel_max_events={value}"));
        assert_eq!(limit("8").unwrap().max_events, EventLimit::new(8).ok());
        assert_eq!(parse("postgres://h/db").unwrap().max_events, None);
        for wrong in ["", "7", "-1", "many", "1000001", "9&sentinel_max_events=9"] {
            let why = limit(wrong).unwrap_err();
            assert!(why.contains("sentinel_max_events"), "{wrong}: {why}");
        }
    }

    #[test]
    fn a_url_sets_how_many_connections_are_opened() {
        let connections = |value: &str| parse(&format!("postgres://h/db?sentinel_connections={value}"));
        assert_eq!(connections("3").unwrap().connections, Some(3));
        assert_eq!(parse("postgres://h/db").unwrap().connections, None);
        for wrong in ["", "-1", "many", "9&sentinel_connections=9"] {
            let why = connections(wrong).unwrap_err();
            assert!(why.contains("sentinel_connections"), "{wrong}: {why}");
        }
    }

    #[test]
    fn a_setting_of_the_session_may_have_a_parameter_of_its_own() {
        for parameter in ["options[work_mem]=1MB", "options%5Bwork_mem%5D=1MB"] {
            let parsed = parse(&format!("postgres:///db?{parameter}")).unwrap();
            assert_eq!(parsed.options.get_options(), Some("-c work_mem=1MB"), "{parameter}");
        }
    }

    #[test]
    fn an_ipv6_address_is_a_host_without_its_brackets() {
        let parsed = parse("postgres://u@[::1]:5433/db").unwrap();
        assert_eq!((parsed.options.get_host(), parsed.options.get_port()), ("::1", 5433));
        let parsed = parse("postgres:///db?host=[fe80::1]").unwrap();
        assert_eq!(parsed.options.get_host(), "fe80::1");
    }

    #[test]
    fn a_raw_number_sign_and_an_encoded_user_in_the_host_are_refused() {
        for bad in [
            "postgres://u:12#3@h/0",
            "postgres://h/0#x",
            "postgres://h#hunter2",
            "postgres://u@h/db?password=a#b&sslmode=verify-full",
        ] {
            let why = parse(bad).unwrap_err();
            assert!(why.contains("%23") && !why.contains("hunter2"), "{bad}: {why}");
        }
        for bad in ["postgres://me%3Ahunter2%40h/0", "postgres://me%3ahunter2@i%3a1", "postgres://u:p@me%40h"]
        {
            let why = parse(bad).unwrap_err();
            assert!(why.contains("before an @") && !why.contains("hunter2"), "{bad}: {why}");
        }
        assert!(parse("postgres://u:a%23%40%3A@h/0").is_ok());
        assert!(parse("postgres://u@%2Frun%2Fpostgresql:7/db").is_ok());
    }

    #[test]
    fn blanks_around_a_url_and_control_characters_in_it_are_refused() {
        for bad in ["postgres://h/db\n", " postgres://h/db", "postgres://h/d\tb", "postgres://h/db "] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_refused_url_lists_the_known_parameters() {
        let why = parse("postgres:///db?sslmod=x").err().unwrap_or_default();
        assert!(["sslmode", SCHEMA, PREFIX].iter().all(|known| why.contains(known)), "{why}");
    }

    #[test]
    fn an_unknown_parameter_is_refused_and_not_quoted() {
        for bad in [
            "postgres://h/db?sslmod=hunter2",
            "postgres://h/db?sslmode=hunter2",
            "postgres://h/db?schema=hunter2",
            "postgres://h/db?sentinel_shema=hunter2",
            "postgres://h/db?sentinel_schema=a&sentinel_schema=hunter2",
            "postgres://me:1?hunter2@h/db",
            "postgres://h:hunter2/db",
            "mysql://me:hunter2@h/db",
            "/hunter2",
        ] {
            let why = parse(bad).unwrap_err();
            assert!(!why.contains("hunter2"), "{bad}: {why}");
        }
    }
}
