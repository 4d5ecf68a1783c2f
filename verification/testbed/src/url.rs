//! Connection URLs.

use std::fmt::Write as _;

/// `postgres://role:password@host:port/database`. A host that is a path is a folder with a socket.
pub(crate) fn url(role: &str, password: Option<&str>, host: &str, port: u16, database: &str) -> String {
    let password = password.map(|password| format!(":{}", escaped(password))).unwrap_or_default();
    format!("postgres://{}{password}@{}:{port}/{}", escaped(role), escaped(host), escaped(database))
}

/// `redis://user:password@127.0.0.1:port`, or another scheme. Without a password, every client gets in.
pub(crate) fn redis(scheme: &str, user: &str, password: Option<&str>, port: u16) -> String {
    format!("{scheme}://{}127.0.0.1:{port}", credentials(user, password))
}

/// `redis+unix://user:password@/path/of/the.sock`.
pub(crate) fn redis_socket(user: &str, password: Option<&str>, path: &str) -> String {
    format!("redis+unix://{}{path}", credentials(user, password))
}

fn credentials(user: &str, password: Option<&str>) -> String {
    password.map(|password| format!("{}:{}@", escaped(user), escaped(password))).unwrap_or_default()
}

pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_characters_are_escaped() {
        assert_eq!(url("a", None, "/t/b", 7, "c"), "postgres://a@%2Ft%2Fb:7/c");
        assert_eq!(url("a", Some("p@:/?"), "127.0.0.1", 7, "c"), "postgres://a:p%40%3A%2F%3F@127.0.0.1:7/c");
        assert_eq!(redis("rediss", "a:b", Some("c"), 7), "rediss://a%3Ab:c@127.0.0.1:7");
        assert_eq!(redis("redis", "a", None, 7), "redis://127.0.0.1:7");
        assert_eq!(redis_socket("a", Some("p@"), "/a/b"), "redis+unix://a:p%40@/a/b");
    }
}
