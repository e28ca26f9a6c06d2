//! A connection of a replica to its primary.
//!
//! In: an address, and how to sign in. Out: lines and bytes of the feed. Promises: a password is sent to the named address alone, encrypted
//! if TLS is asked for; a primary that is silent is left.

use std::io;
use std::time::Duration;

use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::options::ReplicaOptions;
use crate::persistence::RECORD_BYTES_MAX;
use crate::tls::client_connector;

/// Time within which the primary says anything; it does so once a second.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Bytes that are read ahead.
const BUFFER_BYTES: usize = 256 << 10;

/// A line of a feed that is no record: how far the primary is. The first line of a feed is one.
#[derive(Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Its newest record that may be shown.
    pub newest: u64,
    /// Its timelines, oldest first: name, and number of the first record.
    pub timelines: Vec<(String, u64)>,
    /// Files that follow before any record: name and length in bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<(String, u64)>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Heartbeat {
    /// What such a line begins with, and no record.
    pub const BEGINNING: &[u8] = b"{\"newest\":";
}

/// A connection to the primary.
pub struct Link {
    stream: BufReader<Box<dyn Stream>>,
}

impl Link {
    /// Connects and signs in.
    ///
    /// # Errors
    /// Those of the system and of TLS; the primary's, if it does not accept the password.
    pub async fn open(address: &str, options: &ReplicaOptions) -> io::Result<Self> {
        timeout(SILENCE_MAX, Self::connect(address, options))
            .await
            .map_err(|_| silent())?
    }

    async fn connect(address: &str, options: &ReplicaOptions) -> io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let stream: Box<dyn Stream> = if options.is_encrypted {
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
            let host = host.trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            let tls = client_connector().map_err(io::Error::other)?;
            Box::new(tls.connect(name, socket).await?)
        } else {
            Box::new(socket)
        };
        let mut link = Self {
            stream: BufReader::with_capacity(BUFFER_BYTES, stream),
        };
        if let Some(password) = &options.password {
            let user = options.user.as_deref().unwrap_or("default");
            let quoted =
                |word: &str| format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
            link.send(&format!("AUTH {} {}", quoted(user), quoted(password)))
                .await?;
            let mut reply = Vec::new();
            link.line(&mut reply).await?;
            if reply != b"OK" {
                let reply = String::from_utf8_lossy(&reply).into_owned();
                return Err(io::Error::other(reply));
            }
        }
        Ok(link)
    }

    /// Sends a request.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn send(&mut self, request: &str) -> io::Result<()> {
        let request = format!("{request}\n");
        self.stream.write_all(request.as_bytes()).await?;
        self.stream.flush().await
    }

    /// Asks for a feed, and reads its first line.
    ///
    /// # Errors
    /// A sentence: the primary's, if it refuses; that of the connection else.
    pub async fn begin_feed(&mut self, request: &str) -> Result<Heartbeat, String> {
        let mut line = Vec::new();
        let asked = async {
            self.send(request).await?;
            self.line(&mut line).await
        };
        asked.await.map_err(|error: io::Error| error.to_string())?;
        serde_json::from_slice(&line).map_err(|_| String::from_utf8_lossy(&line).into_owned())
    }

    /// Reads a line, without its line feed.
    ///
    /// # Errors
    /// Those of the system; `UnexpectedEof` at the end, `TimedOut` if the primary is silent, `InvalidData` if the line is too long.
    pub async fn line(&mut self, line: &mut Vec<u8>) -> io::Result<()> {
        line.clear();
        loop {
            let arrived = timeout(SILENCE_MAX, self.stream.fill_buf()).await;
            let arrived = arrived.map_err(|_| silent())??;
            if arrived.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "it has closed the connection",
                ));
            }
            if let Some(end) = memchr::memchr(b'\n', arrived) {
                line.extend_from_slice(&arrived[..end]);
                self.stream.consume(end + 1);
                return Ok(());
            }
            let count = arrived.len();
            line.extend_from_slice(arrived);
            self.stream.consume(count);
            if line.len() > RECORD_BYTES_MAX {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "its line is too long",
                ));
            }
        }
    }

    /// Returns true if a whole line has arrived.
    pub fn has_line(&self) -> bool {
        memchr::memchr(b'\n', self.stream.buffer()).is_some()
    }

    /// Reads some bytes, at most as many as there is room for.
    ///
    /// # Errors
    /// As [`Self::line`].
    pub async fn bytes(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let read = timeout(SILENCE_MAX, self.stream.read(room)).await;
        match read.map_err(|_| silent())?? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }
}

fn silent() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("it has said nothing for {} s", SILENCE_MAX.as_secs()),
    )
}
