//! A server with TLS.

use std::path::PathBuf;

use crate::process::Server;
use crate::tls;

use super::Postgres;

/// Relative to the data folder, so that a copy of it has its own.
pub(super) const CONF: &str = "\
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
";

pub(super) fn create(server: &Server) {
    tls::create_authority(server);
    tls::create_certificate(server, "data");
}

impl Postgres {
    /// The certificate of the authority that vouches for a server with TLS: what `sslrootcert` wants.
    pub fn authority(&self) -> PathBuf {
        self.folder().join("ca.crt")
    }
}
