//! Requests from a file or another program, one per line, as they would be typed into netcat.
//!
//! In: lines, as bytes; the server judges them. Out: every reply, in order. Promises: requests are sent while replies are
//! read, in constant memory, and none is held back while the input pauses; a refused line costs that line alone.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

use memchr::memchr;

use crate::connection::Connection;
use crate::error::ClientError;
use crate::render::{Asked, Outcome, Renderer, tell};
use crate::table::{counted, grouped};

/// How many refusals of a mass of requests are told one by one.
const REFUSALS_TOLD_MAX: u64 = 10;

/// How many requests may wait for their replies. It bounds the memory that they take here, not their speed.
const UNANSWERED_MAX: usize = 4096;

/// Sends each line of `input` and shows each reply.
pub fn run<W: Write>(
    connection: &mut Connection,
    input: impl Read + Send + 'static,
    renderer: &mut Renderer<W>,
) -> Result<Outcome, ClientError> {
    let mut requests = Requests::new(connection)?;
    let (questions, asked) = sync_channel(UNANSWERED_MAX);
    // Nothing waits for the thread when this function fails: it may be waiting for input that never comes.
    let sending = thread::spawn(move || send_lines(input, &mut requests, &questions));
    let (mut answered, mut refused) = (0_u64, 0_u64);
    loop {
        let question = if let Ok(question) = asked.try_recv() {
            question
        } else {
            // Whoever reads our output should not wait until more is asked.
            renderer.flush()?;
            let Ok(question) = asked.recv() else { break };
            question
        };
        answered += 1;
        if renderer.reply(connection, question)? == Outcome::Refused {
            refused += 1;
        }
    }
    let sent = sending.join().expect("the sending thread does not panic");
    sent.map_err(ClientError::file("read", "standard input"))?;
    if refused == 0 {
        return Ok(Outcome::Done);
    }
    if !renderer.is_json() {
        tell(&format!(
            "{} of {} refused",
            grouped(refused),
            counted(answered, "request")
        ));
    }
    Ok(Outcome::Refused)
}

/// Sends `input` as it is, lines or what Redis clients write, as fast as the server takes it; counts the replies, and tells of the
/// first refusals.
pub fn insert(
    connection: &mut Connection,
    mut input: impl Read + Send + 'static,
) -> Result<Outcome, ClientError> {
    let mut sender = connection.sender()?;
    let mark = format!("end of {}", std::process::id());
    let last = format!("\nECHO \"{mark}\"\n");
    let sending = thread::spawn(move || -> io::Result<u64> {
        let sent = io::copy(&mut input, &mut sender)?;
        sender.write_all(last.as_bytes())?;
        Ok(sent)
    });
    let counted_replies = connection.count_replies(&mark, REFUSALS_TOLD_MAX)?;
    let sent = sending.join().expect("the sending thread does not panic");
    sent.map_err(ClientError::file("send", "standard input"))?;
    let (replies, errors) = counted_replies;
    tell(&format!(
        "{}; {}",
        counted(replies, "answer"),
        counted(errors, "error")
    ));
    Ok(if errors == 0 {
        Outcome::Done
    } else {
        Outcome::Refused
    })
}

/// Sends lines until the input ends, or a QUIT, after which the server would take no more.
fn send_lines(
    input: impl Read,
    requests: &mut Requests,
    questions: &SyncSender<Asked>,
) -> io::Result<()> {
    let mut input = BufReader::with_capacity(64 << 10, input);
    let mut line = Vec::new();
    for number in 1.. {
        if memchr(b'\n', input.buffer()).is_none() {
            // The input may pause here, and what was asked before should be answered meanwhile.
            requests.flush();
        }
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        line.pop_if(|last| *last == b'\n');
        let Some(question) = Asked::by(&line) else {
            continue; // The server answers no line without a word either.
        };
        let quits = question.is("QUIT");
        if !requests.send(&line, question.on_line(number), questions) || quits {
            break;
        }
    }
    requests.flush();
    Ok(())
}

/// The sending end of a pipeline: each request is announced before it is sent, so that whoever reads the replies knows of
/// each that may have reached the server.
///
/// It tells no fault: a connection that fails here fails there as well, and there it is known what was answered.
pub struct Requests(BufWriter<TcpStream>);

impl Requests {
    /// The sending end of a connection.
    pub fn new(connection: &Connection) -> Result<Self, ClientError> {
        Ok(Self(BufWriter::with_capacity(
            64 << 10,
            connection.sender()?,
        )))
    }

    /// Announces a request, then sends it; whether to go on.
    pub fn send<Q>(&mut self, request: &[u8], question: Q, questions: &SyncSender<Q>) -> bool {
        let announced = match questions.try_send(question) {
            Err(TrySendError::Full(question)) => {
                // Those who wait for replies make room here, and the requests may still be in our buffer.
                self.flush();
                questions.send(question).is_ok()
            }
            tried => tried.is_ok(),
        };
        announced
            && self
                .0
                .write_all(request)
                .and_then(|()| self.0.write_all(b"\n"))
                .is_ok()
    }

    /// Sends what is still held back.
    pub fn flush(&mut self) {
        let _ = self.0.flush();
    }
}
