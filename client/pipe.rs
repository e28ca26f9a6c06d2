//! Requests from a file or another program, one per line.
//!
//! In: lines, as bytes; the server checks them. Out: every reply, in order. Promises: requests are sent while replies are read, in constant
//! memory, and none waits in a buffer while the input pauses; an error costs its own line alone.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

use memchr::memchr;

use crate::connection::Connection;
use crate::error::{ClientError, Outcome};
use crate::render::Renderer;
use crate::request::PendingRequest;
use crate::terminal::tell;
use crate::units::{counted, grouped};

/// The requests that may wait for their replies. It bounds the memory that they take here, not their speed.
const PENDING_MAX: usize = 4096;

/// Sends each line of the input, and shows each reply.
///
/// # Errors
/// [`ClientError::File`] if the input or the output fails; as [`Renderer::reply`].
pub fn run<W: Write>(
    connection: &mut Connection,
    input: impl Read + Send + 'static,
    renderer: &mut Renderer<W>,
) -> Result<Outcome, ClientError> {
    let mut sender = Sender(BufWriter::with_capacity(64 << 10, connection.sender()?));
    let (requests, pending) = sync_channel(PENDING_MAX);
    // On an error the thread is not joined: it may block on an input that never comes.
    let sending = thread::spawn(move || send_lines(input, &mut sender, &requests));
    let (mut answered, mut refused) = (0_u64, 0_u64);
    loop {
        let request = if let Ok(request) = pending.try_recv() {
            request
        } else {
            // The reader of the output need not wait for the next request.
            renderer.flush()?;
            let Ok(request) = pending.recv() else { break };
            request
        };
        answered += 1;
        if renderer.reply(connection, request)? == Outcome::Refused {
            refused += 1;
        }
    }
    let sent = sending.join().expect("the sending thread does not panic");
    sent.map_err(ClientError::file("read", "standard input"))?;
    if refused > 0 && !renderer.is_json() {
        let (refused, requests) = (grouped(refused), counted(answered, "request"));
        tell(&format!("{refused} of {requests} refused"));
    }
    Ok(Outcome::done_if(refused == 0))
}

/// Sends lines until the input ends, or a QUIT, after which the server reads no more.
fn send_lines(
    input: impl Read,
    sender: &mut Sender,
    requests: &SyncSender<PendingRequest>,
) -> io::Result<()> {
    let mut input = BufReader::with_capacity(64 << 10, input);
    let mut line = Vec::new();
    for number in 1.. {
        if memchr(b'\n', input.buffer()).is_none() {
            // The input may pause here, and the requests so far should be answered meanwhile.
            sender.flush();
        }
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        line.pop_if(|last| *last == b'\n');
        let Some(mut request) = PendingRequest::of(&line) else {
            continue; // The server does not answer a blank line either.
        };
        request.input_line = Some(number);
        if !sender.send(&line, request, requests) || request.is("QUIT") {
            break;
        }
    }
    sender.flush();
    Ok(())
}

/// The sending end of a pipeline. Each request is announced before it is sent, so that the reader of replies knows of every one that may
/// have reached the server. Errors are not reported here: the connection fails for the reader as well, which knows the last reply.
struct Sender(BufWriter<TcpStream>);

impl Sender {
    /// Announces a request, then sends it; returns whether to go on.
    fn send(
        &mut self,
        line: &[u8],
        request: PendingRequest,
        requests: &SyncSender<PendingRequest>,
    ) -> bool {
        let is_announced = match requests.try_send(request) {
            Err(TrySendError::Full(request)) => {
                // Replies make room, and the requests for them may still be in this buffer.
                self.flush();
                requests.send(request).is_ok()
            }
            tried => tried.is_ok(),
        };
        let mut write = || {
            self.0
                .write_all(line)
                .and_then(|()| self.0.write_all(b"\n"))
        };
        is_announced && write().is_ok()
    }

    fn flush(&mut self) {
        let _ = self.0.flush();
    }
}
