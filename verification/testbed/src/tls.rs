//! Certificates for servers, from an authority of their own: libraries that check names refuse a certificate that
//! is its own authority.

use std::fs;
use std::path::Path;

use crate::process::{Server, run};

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
extendedKeyUsage = serverAuth, clientAuth
";

const NEW_KEY: &str = "req -config tls.conf -newkey rsa:2048 -nodes";

/// Makes an authority in the folder of a server: `ca.crt` and its key.
pub(crate) fn create_authority(server: &Server) {
    server.write("tls.conf", REQUEST);
    openssl(server, &format!("{NEW_KEY} -x509 -days 3650 -extensions authority -keyout ca.key -out ca.crt"));
}

/// Gives a server the authority of another one, by whose folder it is found: they will trust each other.
pub(crate) fn share_authority(server: &Server, other: &Path) {
    server.write("tls.conf", REQUEST);
    for name in ["ca.key", "ca.crt"] {
        let text = fs::read_to_string(other.join(name));
        server.write(name, &text.unwrap_or_else(|error| panic!("cannot read the other's {name}: {error}")));
    }
}

/// Makes a certificate for `localhost` and 127.0.0.1, from the authority in the server's folder: `server.crt` and its
/// key, in a folder below.
pub(crate) fn create_certificate(server: &Server, folder: &str) {
    openssl(server, &format!("{NEW_KEY} -keyout {folder}/server.key -out server.csr"));
    let sign =
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile tls.conf";
    openssl(server, &format!("{sign} -extensions server -out {folder}/server.crt"));
}

fn openssl(server: &Server, args: &str) {
    let mut command = server.command(Path::new("openssl"));
    command.args(args.split_whitespace());
    run(command);
}
