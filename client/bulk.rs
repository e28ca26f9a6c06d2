//! `--pipe`: a bulk load of requests, lines or RESP, as fast as the server reads them.
//!
//! In: requests on standard input, sent as they are. Out: the number of replies and errors, and the first errors. Promises: constant memory;
//! replies are read while requests are sent; a request that is cut is not sent.

use std::io::{BufWriter, Read, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use crate::connection::Connection;
use crate::error::{ClientError, Outcome};
use crate::input::{Dialects, Input};
use crate::interrupt::INTERRUPT_INTERVAL;
use crate::reply::Line;
use crate::stream::Outgoing;
use crate::terminal::tell;
use crate::units::{counted, grouped};

/// The errors that are shown; later ones are only counted.
const ERRORS_SHOWN_MAX: u64 = 10;

/// The requests that were sent.
struct Sent {
    requests: u64,
    /// The error that ended the input, if it did not end where a request does.
    ended: Result<(), ClientError>,
}

/// The replies that were read.
#[derive(Default)]
struct Replies {
    count: u64,
    errors: u64,
}

/// Sends the input, and counts the replies.
///
/// # Errors
/// As [`Input::next`]; [`ClientError::Unanswered`] if the server closes too early; as [`Connection::next_raw_line`].
pub fn run(
    connection: &mut Connection,
    input: impl Read + Send + 'static,
) -> Result<Outcome, ClientError> {
    let mut server = connection.sender()?;
    let (sender, sent) = sync_channel(1);
    let requests = Arc::new(AtomicU64::new(0));
    let begun = Arc::clone(&requests);
    // The thread is not joined: it may block on an input that never comes.
    thread::spawn(move || send(input, &mut server, &begun, &sender));
    let mut replies = Replies::default();
    let read = replies.read(connection, &requests);
    let (count, errors) = (
        counted(replies.count, "answer"),
        counted(replies.errors, "error"),
    );
    tell(&format!("{count}; {errors}"));
    read.map_err(|error| ClientError::InDoubt(error.into()))?;
    // After a SHUTDOWN the connection may end a moment before the input.
    let sent = sent.recv_timeout(INTERRUPT_INTERVAL);
    let sent = sent.ok().filter(|sent| sent.requests <= replies.count);
    sent.ok_or(ClientError::Unanswered)?.ended?;
    Ok(Outcome::done_if(replies.errors == 0))
}

/// Sends all requests, then closes this direction: the server answers them, and closes the other.
fn send(input: impl Read, server: &mut Outgoing, begun: &AtomicU64, sent: &SyncSender<Sent>) {
    let mut input = Input::of(input, Dialects::All);
    let mut out = BufWriter::with_capacity(64 << 10, &mut *server);
    let mut requests = 0;
    let ended = loop {
        // The input may pause where it is read, and the requests so far should be executed meanwhile.
        match input.next(|| drop(out.flush())) {
            Ok(Some((request, _))) => {
                begun.fetch_add(1, Relaxed);
                if out.write_all(request).is_err() {
                    return;
                }
                requests += 1;
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    // Before the last request leaves, as the server closes after a QUIT.
    let _ = sent.send(Sent { requests, ended });
    // Now the end is due.
    begun.store(u64::MAX, Relaxed);
    // An error shows where the replies are read.
    let _ = out.flush();
    drop(out);
    let _ = server.end();
}

impl Replies {
    /// Reads replies of either dialect until the server closes. Nothing is due while as many are answered as are begun.
    fn read(&mut self, connection: &mut Connection, begun: &AtomicU64) -> Result<(), ClientError> {
        // The members of arrays that are still to come.
        let mut members = 0_usize;
        loop {
            let answered = self.count;
            let is_due = || begun.load(Relaxed) > answered;
            let Some(line) = connection.next_raw_line(&is_due)? else {
                return Ok(());
            };
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let length = || -> Option<usize> { std::str::from_utf8(&line[1..]).ok()?.parse().ok() };
            let (bulk, more, is_row) = match line.first() {
                Some(b'$' | b'=') => (length(), 0, false),
                Some(b'*' | b'~' | b'>') => (None, length().unwrap_or(0), false),
                Some(b'%') => (None, 2 * length().unwrap_or(0), false),
                _ => match Line::parse(line) {
                    Some(Line::Array(length)) => (None, length, false),
                    Some(Line::Map(length)) => (None, 2 * length, false),
                    line => (None, 0, line.is_some_and(|line| !line.ends_reply())),
                },
            };
            if line.first() == Some(&b'-') || line.starts_with(b"ERR ") {
                self.errors += 1;
                if self.errors <= ERRORS_SHOWN_MAX {
                    let error = String::from_utf8_lossy(line);
                    let request = grouped(self.count + 1);
                    tell(&format!("Error: {error} (request {request})"));
                }
            }
            if let Some(bytes) = bulk {
                connection.skip(bytes + 2)?;
            }
            if !is_row {
                members = members.saturating_sub(1) + more;
                self.count += u64::from(members == 0);
            }
        }
    }
}
