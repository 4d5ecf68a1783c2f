//! A server with TLS.

use crate::process::Server;
use crate::tls;

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
