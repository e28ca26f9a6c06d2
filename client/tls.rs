//! TLS to a server: whom to trust, handshakes, and encryption without a socket.
//!
//! In: `--cacert`, `--cert`, `--key`, `--insecure`; a connected socket. Out: a session, which encrypts and decrypts. Promises: TLS 1.2 and
//! 1.3; no server is trusted that cannot prove its name, but under `--insecure`, which is told each time; an error says what to do.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct,
    InvalidMessage, RootCertStore, SignatureScheme,
};

use crate::terminal::tell;

/// Whom to trust, and who this client is.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// Authorities to trust in place of the system's.
    pub cacert: Option<PathBuf>,
    /// Certificate and key of this client.
    pub own: Option<(PathBuf, PathBuf)>,
    /// True if servers are not verified.
    pub is_insecure: bool,
}

/// The options of this process: they hold for each of its connections, also those to servers that an argument names.
static OPTIONS: OnceLock<TlsOptions> = OnceLock::new();
static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();

/// Sets the options of all connections.
pub fn configure(options: TlsOptions) {
    let _ = OPTIONS.set(options);
}

/// Returns the configuration of all connections, which is made once.
fn config() -> io::Result<Arc<ClientConfig>> {
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let options = OPTIONS.get().cloned().unwrap_or_default();
    let config = Arc::new(make_config(&options)?);
    if options.is_insecure && CONFIG.get().is_none() {
        tell(
            "Warning: --insecure: anyone between here and the server can read and change everything.",
        );
    }
    Ok(Arc::clone(CONFIG.get_or_init(|| config)))
}

fn make_config(options: &TlsOptions) -> io::Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has both");
    let builder = if options.is_insecure {
        let verifier = Arc::new(Unverified(provider));
        builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
    } else {
        builder.with_root_certificates(roots(options.cacert.as_deref())?)
    };
    let Some((certificate, key)) = &options.own else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates("--cert", certificate)?;
    let wrong = |reason: String| io::Error::other(format!("--key {}: {reason}", key.display()));
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(error.to_string()))?;
    let builder = builder.with_client_auth_cert(chain, key);
    builder.map_err(|error| wrong(format!("it does not belong to --cert: {error}")))
}

/// Returns the authorities of a file, or those of the system.
fn roots(file: Option<&Path>) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let certificates = match file {
        Some(path) => certificates("--cacert", path)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        let reason = "there is no authority to trust: give one with --cacert FILE";
        return Err(io::Error::other(reason));
    }
    Ok(roots)
}

fn certificates(flag: &str, path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let read: Result<Vec<_>, _> = read;
    let wrong = |reason: String| io::Error::other(format!("{flag} {}: {reason}", path.display()));
    match read {
        Ok(read) if read.is_empty() => Err(wrong("it has no certificate in PEM".to_owned())),
        Ok(read) => Ok(read),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// A session of TLS, apart from its socket. Threads may share it: one encrypts, the other decrypts.
pub struct TlsSession(Mutex<ClientConnection>);

impl TlsSession {
    /// Performs the handshake with a server of this name.
    ///
    /// # Errors
    /// Those of the socket and of the files; a sentence that says what to do if either side does not trust the other.
    pub fn open(socket: &mut TcpStream, host: &str) -> io::Result<Self> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let session = ClientConnection::new(config()?, name).map_err(io::Error::other)?;
        let session = Self(Mutex::new(session));
        {
            let mut session = session.lock();
            while session.is_handshaking() {
                let done = session.complete_io(socket);
                done.map_err(|error| explained(error, host))?;
            }
        }
        Ok(session)
    }

    fn lock(&self) -> MutexGuard<'_, ClientConnection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends the records of some bytes.
    ///
    /// # Errors
    /// The session has ended.
    pub fn encrypt(&self, mut bytes: &[u8], records: &mut Vec<u8>) -> io::Result<()> {
        let mut session = self.lock();
        while !bytes.is_empty() {
            let count = session.writer().write(bytes)?;
            bytes = &bytes[count..];
            while session.wants_write() {
                session.write_tls(records)?;
            }
        }
        Ok(())
    }

    /// Appends the bytes that arrive in some records.
    ///
    /// # Errors
    /// The records are damaged, or the server ends the session; the error says why.
    pub fn decrypt(&self, mut records: &[u8], bytes: &mut Vec<u8>) -> io::Result<()> {
        let mut session = self.lock();
        while !records.is_empty() {
            session.read_tls(&mut records)?;
            let processed = session.process_new_packets();
            processed.map_err(|error| explained(io::Error::other(error), ""))?;
            match session.reader().read_to_end(bytes) {
                // The farewell has come.
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Appends the record that ends the sending direction.
    ///
    /// # Errors
    /// None that is known.
    pub fn end(&self, records: &mut Vec<u8>) -> io::Result<()> {
        let mut session = self.lock();
        session.send_close_notify();
        while session.wants_write() {
            session.write_tls(records)?;
        }
        Ok(())
    }
}

/// Returns an error in words that say what to do, if it is one of TLS.
fn explained(error: io::Error, host: &str) -> io::Error {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    match cause {
        Some(cause) => io::Error::new(io::ErrorKind::InvalidData, explanation(cause, host)),
        None if error.kind() == io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        None => error,
    }
}

fn explanation(error: &rustls::Error, host: &str) -> String {
    use AlertDescription as Alert;
    use CertificateError as Certificate;
    use rustls::Error::{AlertReceived, InvalidCertificate};
    match error {
        InvalidCertificate(Certificate::UnknownIssuer | Certificate::BadSignature) => {
            "the server's certificate is of an authority that is not trusted here: give the authority's file with --cacert FILE".to_owned()
        }
        InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => format!(
            "the server's certificate is not for {host}: connect under a name that is in it, or give the server one with this name"
        ),
        InvalidCertificate(Certificate::Expired | Certificate::ExpiredContext { .. }) => {
            "the server's certificate has expired: the server needs a new one".to_owned()
        }
        InvalidCertificate(Certificate::NotValidYet | Certificate::NotValidYetContext { .. }) => {
            "the server's certificate is not valid yet: are the clocks right?".to_owned()
        }
        InvalidCertificate(reason) => format!("the server's certificate cannot be trusted: {reason}"),
        AlertReceived(Alert::CertificateRequired) => {
            "the server requires a certificate of its clients: give yours with --cert FILE and --key FILE".to_owned()
        }
        AlertReceived(
            Alert::UnknownCA | Alert::BadCertificate | Alert::CertificateUnknown | Alert::DecryptError,
        ) => "the server does not trust the certificate of --cert".to_owned(),
        AlertReceived(Alert::CertificateExpired) => {
            "the certificate of --cert has expired".to_owned()
        }
        AlertReceived(Alert::HandshakeFailure) => {
            "the server refuses the handshake; if it requires a certificate of its clients, give yours with --cert FILE and --key FILE".to_owned()
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the server does not speak TLS there: use pykv:// in place of pykvs://".to_owned()
        }
        other => format!("TLS failed: {other}"),
    }
}

/// A verifier that trusts every server, for `--insecure`.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
