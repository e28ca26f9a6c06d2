//! The opening of a connection to a node: socket, TLS, sign-in.
//!
//! In: an address, and how to sign in. Out: a stream that is ready for requests. Promise: a password is sent to a node of the cluster
//! alone, encrypted if TLS is asked for.

use std::io;
use std::net::Ipv6Addr;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::reply::{NodeReply, Scanner};
use super::request::request_of;

/// Texts of errors that another try does not mend, and what does.
const REMEDIES: &[(&str, &str)] = &[
    (
        "cluster support disabled",
        "PyKV needs nodes of a cluster: cluster-enabled yes",
    ),
    (
        "WRONGPASS",
        "give the user and the password of the nodes: redis://USER:PASSWORD@HOST:PORT in PYKV_ENGINE, % and @ in them as %25 and %40",
    ),
    (
        "NOAUTH",
        "the nodes want a password: redis://USER:PASSWORD@HOST:PORT in PYKV_ENGINE",
    ),
    (
        "NOPERM",
        "give a user of the nodes who may run all commands on all keys and channels",
    ),
    (
        "invalid peer certificate",
        "the node's certificate must be for the host at which it is reached, and of an authority that the system trusts, or that is in \
         the file that SSL_CERT_FILE names",
    ),
    (
        "CertificateRequired",
        "PyKV has no certificate for nodes: they must accept clients without one (tls-auth-clients no)",
    ),
    (
        "corrupt message of type InvalidContentType",
        "the node does not speak TLS at this port: give redis:// in place of rediss://, or its tls-port",
    ),
];

/// How nodes are accessed.
pub struct Access {
    /// TLS, if it is asked for.
    pub tls: Option<TlsConnector>,
    /// User and password, if the nodes want them.
    pub user: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// Time within which a node must answer.
    pub timeout: Duration,
}

/// A stream to a node.
pub enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Over TLS.
    Encrypted(Box<TlsStream<TcpStream>>),
}

/// Connects to a node, and signs in.
///
/// # Errors
/// Those of the system and of TLS; the node's, if it does not accept the password.
pub async fn connect(address: &str, access: &Access) -> io::Result<Stream> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let Some(tls) = &access.tls else {
        let mut stream = Stream::Plain(socket);
        if let Stream::Plain(socket) = &mut stream {
            sign_in(socket, access).await?;
        }
        return Ok(stream);
    };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    let mut stream = Box::new(tls.connect(name, socket).await?);
    sign_in(&mut stream, access).await?;
    Ok(Stream::Encrypted(stream))
}

async fn sign_in(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    access: &Access,
) -> io::Result<()> {
    let Some(password) = &access.password else {
        return Ok(());
    };
    let user = access.user.as_deref().unwrap_or("default");
    ask(stream, &[b"AUTH", user.as_bytes(), password.as_bytes()]).await?;
    Ok(())
}

/// Sends a request and returns the bytes of its reply; for a stream that nobody shares.
///
/// # Errors
/// Those of the system; the node's error as [`io::ErrorKind::Other`].
pub async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    words: &[&[u8]],
) -> io::Result<Vec<u8>> {
    stream.write_all(&request_of(words)).await?;
    stream.flush().await?;
    let mut reply = Vec::new();
    let mut scanner = Scanner::default();
    loop {
        if stream.read_buf(&mut reply).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if scanner.end(&reply).map_err(io::Error::other)?.is_some() {
            break;
        }
    }
    if let Ok(NodeReply::Error(error)) = NodeReply::parse(&reply) {
        return Err(io::Error::other(error.into_owned()));
    }
    Ok(reply)
}

/// Returns what helps against the reason for which a node cannot be used, if another try does not.
#[must_use]
pub fn remedy(reason: &str) -> Option<&'static str> {
    let mut remedies = REMEDIES.iter();
    let found = remedies.find(|(sign, _)| reason.contains(sign));
    found.map(|(_, remedy)| *remedy)
}

/// Returns an address in the form `HOST:PORT`, with brackets around a host of IPv6.
#[must_use]
pub fn socket_address(host: &str, port: &str) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(host) => format!("[{host}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    }
}
