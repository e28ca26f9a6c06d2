//! `--pipe`: a bulk load of requests, lines or RESP, as fast as the server reads them.
//!
//! In: requests on standard input, sent as they are. Out: the number of replies and errors, and the first errors. Promise: constant memory.

use std::io::{self, Read, Write as _};
use std::thread;

use memchr::memmem;

use crate::connection::Connection;
use crate::error::{ClientError, Outcome};
use crate::reply::Line;
use crate::terminal::tell;
use crate::units::counted;

/// The errors that are shown; later ones are only counted.
const ERRORS_SHOWN_MAX: u64 = 10;

/// Sends the input, and counts the replies.
///
/// # Errors
/// [`ClientError::File`] if the input fails; as [`Connection::next_raw_line`].
pub fn run(
    connection: &mut Connection,
    mut input: impl Read + Send + 'static,
) -> Result<Outcome, ClientError> {
    let mut sender = connection.sender()?;
    // The reply to the last request is known by this text.
    let mark = format!("end of {}", std::process::id());
    let last = format!("\nECHO \"{mark}\"\n");
    let sending = thread::spawn(move || {
        io::copy(&mut input, &mut sender).and_then(|_| sender.write_all(last.as_bytes()))
    });
    let (replies, errors) = count_replies(connection, &mark)?;
    let sent = sending.join().expect("the sending thread does not panic");
    sent.map_err(ClientError::file("send", "standard input"))?;
    let (replies, shown_errors) = (counted(replies, "answer"), counted(errors, "error"));
    tell(&format!("{replies}; {shown_errors}"));
    Ok(Outcome::done_if(errors == 0))
}

/// Reads replies of either dialect up to the one that contains the mark; returns their number, and that of the errors among them.
fn count_replies(connection: &mut Connection, mark: &str) -> Result<(u64, u64), ClientError> {
    let (mut replies, mut errors) = (0, 0);
    // The members of arrays that are still to come.
    let mut members = 0_usize;
    loop {
        let line = connection.next_raw_line()?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if members == 0 && memmem::find(line, mark.as_bytes()).is_some() {
            return Ok((replies, errors));
        }
        let length = || -> Option<usize> { std::str::from_utf8(&line[1..]).ok()?.parse().ok() };
        let (bulk, more) = match line.first() {
            Some(b'$' | b'=') => (length(), 0),
            Some(b'*' | b'~' | b'>') => (None, length().unwrap_or(0)),
            Some(b'%') => (None, 2 * length().unwrap_or(0)),
            _ => (None, 0),
        };
        let is_row = Line::parse(line).is_some_and(|line| !line.ends_reply());
        if line.first() == Some(&b'-') || line.starts_with(b"ERR ") {
            errors += 1;
            if errors <= ERRORS_SHOWN_MAX {
                tell(&format!("Error: {}", String::from_utf8_lossy(line)));
            }
        }
        if let Some(bytes) = bulk {
            connection.skip(bytes + 2)?;
        }
        members = members.saturating_sub(1) + more;
        if members == 0 && !is_row {
            replies += 1;
        }
    }
}
