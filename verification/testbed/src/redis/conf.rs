//! The file of settings of a new server.

use std::fmt::Write as _;

use crate::{ports, tls};

use super::Redis;
use super::conf_syntax::{CONF_FILE, lines};
use super::options::{Kind, Options};

/// The settings of every server, before its options: it loses nothing, and does not let a new replica wait for others.
const SERVER: &str = "\
appendonly yes
appendfsync always
maxmemory-policy noeviction
save \"\"
repl-diskless-sync-delay 0
";

/// A node counts as failed only after this time: on a busy machine a node may be slow to answer.
const NODE: &str = "\
cluster-enabled yes
cluster-node-timeout 5000
";

/// There is no port without TLS.
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
    /// Makes the certificate, which does not depend on the port.
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
            // Not a fixed distance away from the other port: another program may have that one.
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
