//! TLS, by rustls.

use std::path::Path;

use fred::types::config::Config;
use sentinel_core::StoreError;

/// Sets a connection up for TLS, with certificates of the operating system or of a file.
#[cfg(feature = "tls")]
pub(crate) fn set(config: &mut Config, ca: Option<&Path>) -> Result<(), StoreError> {
    use fred::types::config::{TlsConnector, TlsHostMapping};
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    use sentinel_core::Trouble;

    let bad = |why: String| StoreError::not_applied(Trouble::InvalidRequest, why);
    let connector = match ca {
        None => TlsConnector::default_rustls().map_err(|error| bad(format!("no certificates: {error}")))?,
        Some(file) => {
            let unreadable = |why: String| bad(format!("the certificates in {}: {why}", file.display()));
            let mut roots = rustls::RootCertStore::empty();
            let found = CertificateDer::pem_file_iter(file).map_err(|error| unreadable(error.to_string()))?;
            for certificate in found {
                let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
                roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unreadable("there are none".into()));
            }
            rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth().into()
        }
    };
    let mut tls = fred::types::config::TlsConfig::from(connector);
    // A cluster tells of its nodes by address; their certificates name the host that the URL names.
    if config.server.is_clustered() {
        tls.hostnames = TlsHostMapping::DefaultHost;
    }
    config.tls = Some(tls);
    Ok(())
}

#[cfg(not(feature = "tls"))]
pub(crate) fn set(_: &mut Config, _: Option<&Path>) -> Result<(), StoreError> {
    let detail = "TLS is not built in: the feature `redis-tls` has it";
    Err(StoreError::not_applied(sentinel_core::Trouble::InvalidRequest, detail))
}
