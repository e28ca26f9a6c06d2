//! A client's look at the text port, and the command `pykv-server health`, by which a supervisor without an HTTP client looks.
//!
//! In: the address of the text port. Out: an answer or none; for the command, a line on standard output and exit status 0, or an
//! error. Promise: it looks by a request that needs neither the data nor a password.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::timeout;

use crate::config::Address;

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
pub async fn look(text: impl ToSocketAddrs) -> io::Result<()> {
    let mut stream = TcpStream::connect(text).await?;
    stream.write_all(b"PING\n").await?;
    let mut reply = [0; 16];
    stream.read(&mut reply).await.map(drop)
}

/// Looks whether the server with this text port answers.
///
/// # Errors
/// [`HealthError`], also if standard output is closed.
pub fn health(text: &Address) -> Result<ExitCode, HealthError> {
    let address = text.0.as_str();
    let looked = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(async { timeout(ANSWER_WAIT, look(address)).await? }));
    looked
        .and_then(|()| writeln!(io::stdout(), "the server at {address} answers"))
        .map_err(|source| HealthError {
            address: address.to_owned(),
            source,
        })?;
    Ok(ExitCode::SUCCESS)
}
