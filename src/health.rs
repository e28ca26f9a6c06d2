//! A client's look at the text port, and the command `pykv-server health`, by which a supervisor without an HTTP client looks.
//!
//! In: the address of the text port. Out: an answer or none; for the command, a line on standard output and exit status 0, or an
//! error. Promise: it looks by a request that needs neither the data nor a password.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::config::{Address, Endpoint, Place};

/// Time in which a server answers, however busy it is.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// The server does not answer.
#[derive(Debug, thiserror::Error)]
#[error("the server at {address} does not answer")]
pub struct HealthError {
    address: String,
    #[source]
    source: io::Error,
}

/// Asks as a client. Whatever comes back, a refusal or the end of the connection included, a task of the server has sent it.
///
/// # Errors
/// Those of the socket.
pub async fn look(text: &Place) -> io::Result<()> {
    match text {
        Place::Tcp(Address(address)) => ping(TcpStream::connect(address).await?).await,
        Place::Unix(path) => ping(UnixStream::connect(path).await?).await,
    }
}

async fn ping(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.write_all(b"PING\n").await?;
    let mut reply = [0; 16];
    stream.read(&mut reply).await.map(drop)
}

/// Looks whether the server with this text port answers.
///
/// # Errors
/// [`HealthError`], also if standard output is closed.
pub fn health(text: &Endpoint) -> Result<ExitCode, HealthError> {
    let place = &text.place;
    let looked = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(async { timeout(ANSWER_WAIT, look(place)).await? }));
    looked
        .and_then(|()| writeln!(io::stdout(), "the server at {text} answers"))
        .map_err(|source| HealthError {
            address: text.to_string(),
            source,
        })?;
    Ok(ExitCode::SUCCESS)
}
