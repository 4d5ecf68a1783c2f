//! Certificates for one server, from an authority of its own: libraries that check names refuse a certificate that is
//! its own authority.

use std::path::{Path, PathBuf};

use crate::process::{Server, run};

use super::Postgres;

/// Relative to the data folder, so that a copy of it has its own.
pub(super) const CONF: &str = "\
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
";

const REQUEST: &str = "\
[req]
prompt = no
distinguished_name = name
[name]
CN = sentinel testbed
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[server]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:localhost, IP:127.0.0.1
extendedKeyUsage = serverAuth
";

pub(super) fn create(server: &Server) {
    server.write("tls.conf", REQUEST);
    let new_key = "req -config tls.conf -newkey rsa:2048 -nodes";
    openssl(server, &format!("{new_key} -x509 -days 3650 -extensions authority -keyout ca.key -out ca.crt"));
    openssl(server, &format!("{new_key} -keyout data/server.key -out server.csr"));
    openssl(
        server,
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile tls.conf \
         -extensions server -out data/server.crt",
    );
}

fn openssl(server: &Server, args: &str) {
    let mut command = server.command(Path::new("openssl"));
    command.args(args.split_whitespace());
    run(command);
}

impl Postgres {
    /// The certificate of the authority that vouches for a server with TLS: what `sslrootcert` wants.
    pub fn authority(&self) -> PathBuf {
        self.folder().join("ca.crt")
    }
}
