//! TLS towards other servers.
//!
//! In: nothing. Out: what encrypts a connection to a server. Promise: a server must have a certificate of an authority that the system
//! trusts; the variable SSL_CERT_FILE names others.

use std::sync::Arc;

use tokio_rustls::TlsConnector;

/// Returns the configuration of TLS: the system's authorities are trusted.
#[must_use]
pub fn client_connector() -> TlsConnector {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}
