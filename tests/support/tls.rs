//! Certificates of an authority of the test's own, and a client that speaks TLS.
//!
//! In: names and days. Out: files in PEM, and replies. Nothing is taken from the system.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

/// A reply that has not come after this long will not come.
const PATIENCE: Duration = Duration::from_secs(60);
const DAY: u64 = 86_400;

/// An authority, in a folder of its own.
pub struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// The files of a certificate.
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

fn day(from_now: i64) -> rcgen::CertificateParams {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("it is after 1970").as_secs();
    let at = now.saturating_add_signed(from_now * DAY.cast_signed()) + DAY / 2;
    let mut params = CertificateParams::default();
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(at);
    params
}

impl Authority {
    /// A new one, with its certificate in `ca.pem`.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "Authority of a test");
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("a file");
        Self { folder, issuer }
    }

    /// The file of its certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for 127.0.0.1 and localhost, in `NAME.pem` and `NAME.key`, valid now.
    pub fn issue(&self, name: &str) -> Identity {
        self.issue_for(name, -1, 90)
    }

    /// The same, valid between these days from now, and half a day longer.
    pub fn issue_for(&self, name: &str, from: i64, to: i64) -> Identity {
        let names = ["127.0.0.1", "localhost"].map(str::to_owned);
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = day(from).not_after;
        params.not_after = day(to).not_after;
        self.sign(name, &params)
    }

    /// The same without a common name: this is its only name of DNS.
    pub fn issue_unnamed(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).expect("names");
        params.distinguished_name = DistinguishedName::new();
        self.sign(name, &params)
    }

    fn sign(&self, name: &str, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        let identity = Identity {
            certificate: self.folder.path().join(format!("{name}.pem")),
            key: self.folder.path().join(format!("{name}.key")),
        };
        fs::write(&identity.certificate, signed.pem()).expect("a file");
        fs::write(&identity.key, key.serialize_pem()).expect("a file");
        identity
    }
}

impl Identity {
    /// The flags of a server that uses it.
    pub fn flags(&self) -> [String; 4] {
        let path = |path: &Path| path.display().to_string();
        let (certificate, key) = (path(&self.certificate), path(&self.key));
        [
            "--tls-cert".to_owned(),
            certificate,
            "--tls-key".to_owned(),
            key,
        ]
    }

    /// Takes the place of the files of another.
    pub fn replace(&self, other: &Self) {
        for (from, to) in [
            (&self.certificate, &other.certificate),
            (&self.key, &other.key),
        ] {
            let aside = to.with_extension("new");
            fs::copy(from, &aside).expect("a copy");
            fs::rename(aside, to).expect("a file in its place");
        }
    }
}

/// A version of TLS.
#[derive(Clone, Copy)]
pub enum Version {
    Tls12,
    Tls13,
}

/// A client that trusts one authority.
pub fn config(
    authority: &Authority,
    own: Option<&Identity>,
    version: Option<Version>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.issuer.der().clone())
        .expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = match version {
        None => vec![&TLS13, &TLS12],
        Some(Version::Tls12) => vec![&TLS12],
        Some(Version::Tls13) => vec![&TLS13],
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .expect("both are known")
        .with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = CertificateDer::pem_file_iter(&own.certificate).expect("a file");
            let chain = chain.map(|certificate| certificate.expect("a certificate"));
            let key = PrivateKeyDer::from_pem_file(&own.key).expect("a key");
            let builder = builder.with_client_auth_cert(chain.collect(), key);
            builder.expect("they belong together")
        }
    }
}

/// An encrypted connection.
pub struct TlsClient(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl TlsClient {
    /// Connects with the newest version and without a certificate of its own.
    pub fn connect(addr: SocketAddr, authority: &Authority) -> Self {
        Self::with(addr, config(authority, None, None))
    }

    /// Connects.
    pub fn with(addr: SocketAddr, config: ClientConfig) -> Self {
        let socket = TcpStream::connect(addr).expect("the server accepts");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let name = ServerName::try_from("localhost").expect("a name");
        let session = ClientConnection::new(Arc::new(config), name).expect("a session");
        Self(BufReader::new(StreamOwned::new(session, socket)))
    }

    /// Sends a line; the reply to it, or why there is none.
    pub fn try_ask(&mut self, line: &str) -> Result<String, String> {
        self.try_send(&format!("{line}\n"))?;
        let mut reply = String::new();
        let read = self.0.read_line(&mut reply);
        read.map_err(|error| error.to_string())?;
        Ok(reply.trim_end().to_owned())
    }

    /// Sends a line; the reply to it.
    pub fn ask(&mut self, line: &str) -> String {
        self.try_ask(line).expect("a reply")
    }

    /// Sends text.
    pub fn try_send(&mut self, text: &str) -> Result<(), String> {
        let sent = self.0.get_mut().write_all(text.as_bytes());
        sent.map_err(|error| error.to_string())
    }

    /// All that comes until the server closes.
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.0
            .read_to_string(&mut rest)
            .expect("the server closes with the farewell of TLS");
        rest
    }

    /// Ends the sending direction.
    pub fn half_close(&mut self) {
        let stream = self.0.get_mut();
        stream.conn.send_close_notify();
        stream.flush().expect("an open socket");
    }

    /// Whether the server has presented the certificate of this file.
    pub fn has_seen(&self, identity: &Identity) -> bool {
        let expected = CertificateDer::from_pem_file(&identity.certificate).expect("a file");
        let seen = self
            .0
            .get_ref()
            .conn
            .peer_certificates()
            .unwrap_or_default();
        seen.first() == Some(&expected)
    }

    /// The version that was agreed on.
    pub fn version(&self) -> Option<rustls::ProtocolVersion> {
        self.0.get_ref().conn.protocol_version()
    }
}
