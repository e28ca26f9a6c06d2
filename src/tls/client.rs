//! TLS towards other servers.
//!
//! In: nothing. Out: what encrypts a connection to a server. Promise: a server must have a certificate of an authority that the system
//! trusts; the variable SSL_CERT_FILE names others.

use std::sync::Arc;

use tokio_rustls::TlsConnector;

/// Returns the configuration of TLS: the system's authorities are trusted.
///
/// # Errors
/// If there are none, or the file that SSL_CERT_FILE names cannot be read.
pub fn client_connector() -> Result<TlsConnector, String> {
    if let Some(file) = std::env::var_os("SSL_CERT_FILE") {
        let opened = std::fs::File::open(&file);
        opened.map_err(|error| format!("SSL_CERT_FILE {}: {error}", file.display()))?;
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(format!(
            "TLS needs certificates of authorities in PEM, of the system or in the file that SSL_CERT_FILE names, and there are none {}",
            reasons.join("; ")
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
