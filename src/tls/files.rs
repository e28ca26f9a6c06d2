//! The files of TLS: certificate, key, and the authorities of clients, all in PEM (RFC 7468).
//!
//! In: paths. Out: the configuration of handshakes. Promise: an error names the file, its flag, and the remedy.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};

use super::certificate::validity;
use crate::model::now_ms;

/// The paths of the files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Certificate of the server, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities of clients' certificates, which are then required.
    pub client_ca: Option<PathBuf>,
}

/// A file of TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read, or its PEM is damaged.
    #[error("cannot read {flag} {}", path.display())]
    Unreadable {
        /// Flag.
        flag: &'static str,
        /// Path.
        path: PathBuf,
        /// Reason.
        source: pem::Error,
    },
    /// It has nothing of what it should have.
    #[error("{flag} {} {reason}", path.display())]
    Content {
        /// Flag.
        flag: &'static str,
        /// Path.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
}

const CERTIFICATE: &str = "--tls-cert";
const KEY: &str = "--tls-key";
const CLIENT_CA: &str = "--tls-client-ca";

/// What tells a file from an earlier one under its path: modification time, length, inode.
type Stamp = Option<(i64, i64, u64, u64)>;
/// Stamps of all files.
pub(super) type Stamps = Vec<Stamp>;

/// Files that have been read.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    /// The last second at which the certificate is valid, since 1970.
    pub(super) not_after: i64,
    pub(super) stamps: Stamps,
}

impl TlsFiles {
    /// Returns the stamps of the files as they are now.
    pub(super) fn stamps(&self) -> Stamps {
        let paths = [
            Some(&self.certificate),
            Some(&self.key),
            self.client_ca.as_ref(),
        ];
        let stamp = |path: &PathBuf| {
            let found = fs::metadata(path).ok()?;
            Some((found.mtime(), found.mtime_nsec(), found.len(), found.ino()))
        };
        paths.into_iter().flatten().map(stamp).collect()
    }

    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(super) fn load(&self) -> Result<Loaded, TlsError> {
        let stamps = self.stamps();
        let chain = certificates(CERTIFICATE, &self.certificate)?;
        let not_after = self.check_validity(&chain[0])?;
        let key = self.read_key()?;
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider has both");
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let wrong = |reason: String| content(CLIENT_CA, path, reason);
                let mut roots = RootCertStore::empty();
                for certificate in certificates(CLIENT_CA, path)? {
                    let added = roots.add(certificate);
                    added
                        .map_err(|error| wrong(format!("has an unusable certificate: {error}")))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                let verifier = verifier.map_err(|error| wrong(format!("is unusable: {error}")))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let config = builder.with_single_cert(chain, key).map_err(|error| {
            let reason = match error {
                rustls::Error::InconsistentKeys(_) => format!(
                    "is not the key of {CERTIFICATE} {}: give the key that the certificate was made with",
                    self.certificate.display()
                ),
                error => format!("cannot be used: {error}"),
            };
            content(KEY, &self.key, reason)
        })?;
        Ok(Loaded {
            config: Arc::new(config),
            not_after,
            stamps,
        })
    }

    /// Returns the last second at which the certificate is valid, since 1970.
    ///
    /// # Errors
    /// [`TlsError`] if it is not valid now.
    fn check_validity(&self, certificate: &CertificateDer<'_>) -> Result<i64, TlsError> {
        let wrong = |reason: String| content(CERTIFICATE, &self.certificate, reason);
        let (not_before, not_after) =
            validity(certificate).ok_or_else(|| wrong("has a malformed certificate".to_owned()))?;
        let now = (now_ms() / 1000).cast_signed();
        let shown = |seconds: i64| jiff::Timestamp::from_second(seconds).unwrap_or_default();
        if not_before > now {
            return Err(wrong(format!(
                "has a certificate that is not valid before {}; is this machine's clock right?",
                shown(not_before)
            )));
        }
        if not_after < now {
            return Err(wrong(format!(
                "has a certificate that expired at {}; put a new one in its place",
                shown(not_after)
            )));
        }
        Ok(not_after)
    }

    fn read_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_file(&self.key).map_err(|error| {
            let text = fs::read(&self.key).unwrap_or_default();
            let is_encrypted = memchr::memmem::find(&text, b"ENCRYPTED").is_some();
            match error {
                pem::Error::NoItemsFound if is_encrypted => content(
                    KEY,
                    &self.key,
                    "is encrypted; decrypt it with openssl pkey -in FILE -out FILE.plain"
                        .to_owned(),
                ),
                pem::Error::NoItemsFound => content(
                    KEY,
                    &self.key,
                    "has no private key in PEM (-----BEGIN PRIVATE KEY-----)".to_owned(),
                ),
                source => unreadable(KEY, &self.key, source),
            }
        })
    }
}

/// Reads the certificates of a file, of which there is at least one.
fn certificates(flag: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let read: Vec<_> = read.map_err(|source| unreadable(flag, path, source))?;
    if read.is_empty() {
        let reason = "has no certificate in PEM (-----BEGIN CERTIFICATE-----)";
        return Err(content(flag, path, reason.to_owned()));
    }
    Ok(read)
}

fn unreadable(flag: &'static str, path: &Path, source: pem::Error) -> TlsError {
    TlsError::Unreadable {
        flag,
        path: path.to_owned(),
        source,
    }
}

fn content(flag: &'static str, path: &Path, reason: String) -> TlsError {
    TlsError::Content {
        flag,
        path: path.to_owned(),
        reason,
    }
}
