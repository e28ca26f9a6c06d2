//! A client's look at the text port, and the command `pykv-server health`, by which a supervisor without an HTTP client looks.
//!
//! In: the address of the text port. Out: an answer or none; for the command, a line on standard output and exit status 0, or an
//! error. Promise: it looks by a request that needs neither the data nor a password.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::config::{Address, Endpoint, Place};
use crate::stdout::{StdoutError, print};

/// The server does not answer, or it cannot be said that it does.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// It cannot be reached.
    #[error("the server at {address} does not answer")]
    Unreachable {
        /// Its address.
        address: String,
        /// The error of the socket.
        #[source]
        source: io::Error,
    },
    /// It is silent.
    #[error("the server at {address} did not answer within {seconds} s")]
    Silent {
        /// Its address.
        address: String,
        /// The time that it had.
        seconds: f64,
    },
    /// Standard output takes no more.
    #[error(transparent)]
    Output(#[from] StdoutError),
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

/// Looks whether the server with this text port answers in time.
///
/// # Errors
/// [`HealthError`].
pub fn health(text: &Endpoint, limit: Duration) -> Result<ExitCode, HealthError> {
    let place = &text.place;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let looked = runtime.map(|runtime| {
        let looked = runtime.block_on(async { timeout(limit, look(place)).await });
        // A name server that is silent must not delay the end.
        runtime.shutdown_background();
        looked
    });
    let address = text.to_string();
    match looked {
        Ok(Ok(Ok(()))) => print(&format!("the server at {text} answers\n"))?,
        Ok(Err(_)) => {
            let seconds = limit.as_secs_f64();
            return Err(HealthError::Silent { address, seconds });
        }
        Err(source) | Ok(Ok(Err(source))) => {
            return Err(HealthError::Unreachable { address, source });
        }
    }
    Ok(ExitCode::SUCCESS)
}
