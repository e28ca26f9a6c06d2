//! Handshakes: an accepted socket becomes an encrypted stream, or is closed with a reason that its client can read.
//!
//! In: a TCP socket. Out: a stream, and the name in the client's certificate. Promises: a handshake takes at most [`HANDSHAKE_MAX`], and
//! at most [`HANDSHAKES_MAX`](super::HANDSHAKES_MAX) run at a time; a client that speaks no TLS is told what to do, in its own dialect.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::certificate::name;
use super::identity::Tls;
use super::sometimes::Sometimes;

/// Maximum time of a handshake: enough for three round trips over a bad line, and short enough that silent clients take no places.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Memory charged for an encrypted connection in bytes: the state of its session, of which an idle one holds 12 to 14 KB.
pub const TLS_BYTES: usize = 16 << 10;
/// Maximum time for which a client that speaks no TLS is read from, so that it can read the reason.
const LINGER: Duration = Duration::from_secs(2);
/// Maximum number of its bytes that are discarded meanwhile.
const LINGER_BYTES_MAX: u64 = 64 << 10;

/// First byte of a TLS record that begins a handshake (RFC 8446, 5.1).
pub const HANDSHAKE_RECORD: u8 = 0x16;

/// An encrypted stream.
pub type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

/// A finished handshake.
pub struct Handshake {
    /// The stream.
    pub stream: TlsStream,
    /// Name in the client's certificate, which has been verified; `None` without one.
    pub certificate_name: Option<String>,
}

/// Makes the reply to a client that speaks no TLS, whose first byte is this one.
pub type NoTls = fn(u8) -> &'static str;

static FAILURES: Sometimes = Sometimes::new();
static ON_PLAIN_PORT: Sometimes = Sometimes::new();

/// Logs, once in a while, that a client has spoken TLS where nobody does.
pub fn note_tls_on_plain_port() {
    if ON_PLAIN_PORT.may_log() {
        tracing::warn!(
            "a client spoke TLS to an address without it: let it connect without TLS, or open the address as tls:// or https://; \
             others of the next minute are not logged"
        );
    }
}

impl Tls {
    /// Performs the handshake of a socket. Returns `None` once a client that cannot be served has been told why, if it can be.
    pub async fn accept(&self, stream: TcpStream, no_tls: NoTls) -> Option<Handshake> {
        let handshake = timeout(HANDSHAKE_MAX, self.try_accept(stream, no_tls)).await;
        match handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(handshake) => handshake,
            // The client has gone.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => {
                if FAILURES.may_log() {
                    tracing::warn!(
                        "a TLS handshake failed: {error}; others of the next minute are not logged"
                    );
                }
                None
            }
        }
    }

    async fn try_accept(
        &self,
        mut stream: TcpStream,
        no_tls: NoTls,
    ) -> io::Result<Option<Handshake>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Ok(None);
        }
        if first[0] != HANDSHAKE_RECORD {
            stream.write_all(no_tls(first[0]).as_bytes()).await?;
            stream.shutdown().await?;
            // Closing a socket with unread input resets the connection, and the client could lose the reply.
            let mut rest = stream.take(LINGER_BYTES_MAX);
            let mut sink = tokio::io::sink();
            let _ = timeout(LINGER, tokio::io::copy(&mut rest, &mut sink)).await;
            return Ok(None);
        }
        let _place = self.handshakes.acquire().await.map_err(io::Error::other)?;
        let stream = TlsAcceptor::from(self.config()).accept(stream).await?;
        let (_, session) = stream.get_ref();
        let certificates = session.peer_certificates().unwrap_or_default();
        let certificate_name = certificates.first().and_then(|first| name(first));
        Ok(Some(Handshake {
            stream,
            certificate_name,
        }))
    }
}
