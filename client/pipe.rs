//! Requests from a file or another program, one per line.
//!
//! In: lines, as bytes; the server checks them. Out: every reply, in order. Promises: requests are sent while replies are read, in constant
//! memory, and none waits in a buffer while the input pauses; an error costs its own line alone; a last line that lacks its line feed may
//! have been cut, and is sent only if it changes nothing.

use std::io::{BufWriter, Read, Write};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

use crate::connection::Connection;
use crate::error::{ClientError, Outcome};
use crate::input::{Dialects, Input};
use crate::place::Place;
use crate::render::Renderer;
use crate::request::PendingRequest;
use crate::stream::Outgoing;
use crate::terminal::tell;
use crate::units::{counted, grouped};

/// The requests that may wait for their replies. It bounds the memory that they take here, not their speed.
const PENDING_MAX: usize = 4096;

/// Sends each line of the input, and shows each reply.
///
/// # Errors
/// [`ClientError::File`] if the input or the output fails; as [`Renderer::reply`] and [`Input::next`].
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
    let mut outcome = Outcome::Done;
    loop {
        let request = if let Ok(request) = pending.try_recv() {
            request
        } else {
            // The reader of the output need not wait for the next request.
            renderer.flush()?;
            let Ok(request) = pending.recv() else { break };
            request
        };
        let reply = renderer.reply(connection, request)?;
        answered += 1;
        refused += u64::from(reply == Outcome::Refused);
        outcome = outcome.max(reply);
    }
    if refused > 0 && !renderer.is_json() {
        let (refused, requests) = (grouped(refused), counted(answered, "request"));
        tell(&format!("{refused} of {requests} refused"));
    }
    let sent = sending.join().expect("the sending thread does not panic");
    if sent.is_err() {
        tell(&format!("answered: {}", counted(answered, "request")));
    }
    sent.map(|()| outcome)
}

/// Sends lines until the input ends, or a QUIT, after which the server reads no more.
fn send_lines(
    input: impl Read,
    sender: &mut Sender,
    requests: &SyncSender<PendingRequest>,
) -> Result<(), ClientError> {
    let mut input = Input::of(input, Dialects::Lines);
    // The input may pause where it is read, and the requests so far should be answered meanwhile.
    let ended = loop {
        match input.next(|| sender.flush()) {
            Ok(Some((line, place))) => {
                if !sender.send(line, place, requests) {
                    break Ok(());
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let ended = match ended {
        Err(ClientError::Cut { .. }) if is_harmless(input.unterminated_line()) => {
            let line = [input.unterminated_line(), b"\n"].concat();
            sender.send(&line, input.place(), requests);
            Ok(())
        }
        ended => ended,
    };
    sender.flush();
    ended
}

/// Returns whether a line may be sent that has no line feed, so that it may have been cut: it changes nothing.
fn is_harmless(line: &[u8]) -> bool {
    PendingRequest::of(line).is_some_and(PendingRequest::changes_nothing)
}

/// The sending end of a pipeline. Each request is announced before it is sent, so that the reader of replies knows of every one that may
/// have reached the server. Errors are not reported here: the connection fails for the reader as well, which knows the last reply.
struct Sender(BufWriter<Outgoing>);

impl Sender {
    /// Announces a request, then sends it; returns whether to go on.
    fn send(&mut self, line: &[u8], place: Place, requests: &SyncSender<PendingRequest>) -> bool {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let mut request = PendingRequest::of(text).expect("blank lines are no requests");
        request.place = Some(place);
        let is_announced = match requests.try_send(request) {
            Err(TrySendError::Full(request)) => {
                // Replies make room, and the requests for them may still be in this buffer.
                self.flush();
                requests.send(request).is_ok()
            }
            tried => tried.is_ok(),
        };
        is_announced && self.0.write_all(line).is_ok()
    }

    fn flush(&mut self) {
        let _ = self.0.flush();
    }
}
