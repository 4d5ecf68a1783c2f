//! The file of settings of a new server.

use std::fmt::Write as _;

use crate::{ports, tls};

use super::options::{Kind, Options};
use super::{CONF_FILE, Redis};

/// What a server is told before its options are: that it loses nothing, and does not let a new replica wait for others.
const SERVER: &str = "\
appendonly yes
appendfsync always
maxmemory-policy noeviction
save \"\"
repl-diskless-sync-delay 0
";

/// Silence is death only after so long: a busy machine is silent for a while, too.
const NODE: &str = "\
cluster-enabled yes
cluster-node-timeout 5000
";

/// A port that is not spoken to without TLS is not there.
const TLS: &str = "\
port 0
tls-cert-file server.crt
tls-key-file server.key
tls-ca-cert-file ca.crt
tls-auth-clients no
tls-replication yes
tls-cluster yes
";

impl Redis {
    /// Makes what stays the same, whatever the port will be.
    pub(super) fn create_certificate(&self, options: &Options) {
        if !options.tls {
            return;
        }
        match &options.authority {
            Some(folder) => tls::share_authority(&self.server, folder),
            None => tls::create_authority(&self.server),
        }
        tls::create_certificate(&self.server, ".");
    }

    pub(super) fn configure(&self, options: &Options) {
        let mut text = match options.kind {
            Kind::Server => SERVER.to_owned(),
            Kind::Node => [SERVER, NODE].concat(),
            Kind::Sentinel => String::new(),
        };
        text += &lines(&options.settings);
        let port = if options.tls { "tls-port" } else { "port" };
        if options.tls {
            text += TLS;
        }
        if options.kind == Kind::Node {
            // Not a fixed distance away from the other port: there, somebody may be.
            let _ = writeln!(text, "cluster-port {}", ports::free());
        }
        let socket = self.socket();
        let mine = format!(
            "bind 127.0.0.1\n{port} {}\nunixsocket {}\nunixsocketperm 700\n",
            self.port,
            socket.display()
        );
        self.server.write(CONF_FILE, &(text + &mine));
    }
}

/// Lines of `redis.conf`.
pub(super) fn lines<N: AsRef<str>, V: AsRef<str>>(settings: &[(N, V)]) -> String {
    let line = |(name, value): &(N, V)| format!("{} {}\n", name.as_ref(), value.as_ref());
    settings.iter().map(line).collect()
}

/// A value that may hold anything.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            quoted.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(quoted, "\\x{byte:02x}");
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_stays_one_word_of_the_file() {
        assert_eq!(quoted("a \"7"), r#""a\x20\x227""#);
    }
}
