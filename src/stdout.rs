//! Standard output of the commands that print something and end.
//!
//! In: a text. Out: the same on standard output. Promises: a reader that goes away early, as `head` does, is no failure; a disk that takes
//! nothing is an error in words.

use std::io::{self, Write as _};

/// Standard output takes no more.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub struct StdoutError(#[from] io::Error);

/// Prints a text.
///
/// # Errors
/// [`StdoutError`], unless the reader has gone.
pub fn print(text: &str) -> Result<(), StdoutError> {
    let mut out = io::stdout().lock();
    ignore_closed(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Returns the result of writing to standard output, where it is none that the reader has gone.
///
/// # Errors
/// [`StdoutError`].
pub fn ignore_closed(written: io::Result<()>) -> Result<(), StdoutError> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(StdoutError),
    }
}
