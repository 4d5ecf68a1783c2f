//! TLS, by rustls. The certificates of those who may sign a server's are read again at each connection: they can be
//! replaced while the program runs.

use std::path::PathBuf;

use fred::types::config::Config;
use sentinel_core::StoreError;

/// Sets connections up for TLS, with certificates of the operating system or of a file.
#[cfg(feature = "tls")]
pub(crate) fn set(config: &mut Config, ca: Option<PathBuf>) -> Result<(), StoreError> {
    use fred::types::config::{TlsConfig, TlsHostMapping};
    use sentinel_core::ErrorKind;

    let connector = verifier::connector(ca);
    let connector = connector.map_err(|why| StoreError::not_applied(ErrorKind::InvalidRequest, why))?;
    let mut tls = TlsConfig::from(connector);
    // A cluster reports its nodes by address; their certificates name the host that the URL names.
    if config.server.is_clustered() {
        tls.hostnames = TlsHostMapping::DefaultHost;
    }
    config.tls = Some(tls);
    Ok(())
}

#[cfg(not(feature = "tls"))]
pub(crate) fn set(_: &mut Config, _: Option<PathBuf>) -> Result<(), StoreError> {
    let detail = "TLS is not built in: enable the feature `redis-tls`";
    Err(StoreError::not_applied(sentinel_core::ErrorKind::InvalidRequest, detail))
}

#[cfg(feature = "tls")]
mod verifier {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::client::{Resumption, WebPkiServerVerifier};
    use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

    /// What connections are made with. Fails where there are no certificates now.
    pub(super) fn connector(ca: Option<PathBuf>) -> Result<fred::types::config::TlsConnector, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        roots(ca.as_deref())?;
        let builder =
            ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let verifier = Arc::new(ReloadingVerifier { ca, provider });
        // "Dangerous" is what rustls calls every verifier that is not its own: this one leaves the verdict to rustls'.
        let builder = builder.map_err(|error| error.to_string())?.dangerous();
        let mut config = builder.with_custom_certificate_verifier(verifier).with_no_client_auth();
        // A session that is resumed is not verified again.
        config.resumption = Resumption::disabled();
        Ok(config.into())
    }

    /// Those who may sign a server's certificate, as they are now.
    fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        let Some(file) = ca else {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            let why = found.errors.first().map_or("there are none".into(), ToString::to_string);
            return if roots.is_empty() { Err(format!("no certificates: {why}")) } else { Ok(roots) };
        };
        let unreadable = |why: String| format!("the certificates in {}: {why}", file.display());
        let found = CertificateDer::pem_file_iter(file).map_err(|error| unreadable(error.to_string()))?;
        for certificate in found {
            let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
        }
        if roots.is_empty() { Err(unreadable("there are none".into())) } else { Ok(roots) }
    }

    /// Verifies as rustls does, by the certificates that are there at the time.
    #[derive(Debug)]
    struct ReloadingVerifier {
        ca: Option<PathBuf>,
        provider: Arc<CryptoProvider>,
    }

    impl ReloadingVerifier {
        fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
            &self.provider.signature_verification_algorithms
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct NoRoots(String);

    impl ServerCertVerifier for ReloadingVerifier {
        fn verify_server_cert(
            &self,
            end_entity: &CertificateDer<'_>,
            intermediates: &[CertificateDer<'_>],
            server_name: &ServerName<'_>,
            ocsp_response: &[u8],
            now: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            let other = |why: String| Error::Other(OtherError(Arc::new(NoRoots(why))));
            let roots = roots(self.ca.as_deref()).map_err(other)?;
            let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), self.provider.clone());
            let verifier = verifier.build().map_err(|error| other(error.to_string()))?;
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            rustls::crypto::verify_tls12_signature(message, certificate, signature, self.algorithms())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            rustls::crypto::verify_tls13_signature(message, certificate, signature, self.algorithms())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.algorithms().supported_schemes()
        }
    }
}
