//! The requests of an input, cut out of it where a server would.
//!
//! In: bytes: lines, and RESP if it is allowed. Out: whole requests, one after the other, and the place where the input ends inside one.
//! Promises: a byte order mark before the first request is skipped; a request that is cut is never handed out; memory for one read and one request, at most the longest that a server takes.

use std::io::{self, Read};
use std::ops::Range;

use memchr::memchr_iter;
use pykv::codec::bom::BOM;
use pykv::protocol::line::{self, Frame};
use pykv::protocol::resp;

use crate::error::ClientError;
use crate::place::Place;

/// The bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// The dialects that an input may be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialects {
    /// Lines, whose replies are shown.
    Lines,
    /// Lines and RESP, whose replies are only counted.
    All,
}

/// An input.
pub struct Input<R> {
    source: R,
    dialects: Dialects,
    buffer: Vec<u8>,
    /// The offset of the next request in the buffer.
    at: usize,
    /// The bytes from there on that are known to have no line feed.
    seen: usize,
    resp: resp::Reader,
    place: Place,
    has_quit: bool,
    in_transaction: bool,
}

/// The next request in the buffer.
enum Found {
    /// A blank line, which is not answered, or a request, and its length in bytes.
    Blank(usize),
    Request(usize),
    Partial,
    Malformed(String),
}

impl<R: Read> Input<R> {
    /// Returns the input that a source gives.
    pub fn of(source: R, dialects: Dialects) -> Self {
        Self {
            source,
            dialects,
            buffer: Vec::new(),
            at: 0,
            seen: 0,
            resp: resp::Reader::default(),
            place: Place::START,
            has_quit: false,
            in_transaction: false,
        }
    }

    /// Returns the next request with its line end, and its place; `None` at the end of the input, and after a QUIT. `pause` is called
    /// before the input is read, which may take long.
    ///
    /// # Errors
    /// [`ClientError::Cut`] if the input ends inside a request or a transaction; `MalformedInput` for what is no request; `File` if
    /// the input cannot be read.
    pub fn next(&mut self, mut pause: impl FnMut()) -> Result<Option<(&[u8], Place)>, ClientError> {
        loop {
            if self.has_quit {
                return Ok(None);
            }
            match self.find() {
                Found::Blank(bytes) => drop(self.take(bytes)),
                Found::Request(bytes) => {
                    let place = self.place;
                    let request = self.take(bytes);
                    self.place.request += 1;
                    return Ok(Some((&self.buffer[request], place)));
                }
                Found::Partial => {
                    pause();
                    if self.fill()? == 0 {
                        return self.end().map(|()| None);
                    }
                }
                Found::Malformed(reason) => {
                    let place = self.place;
                    return Err(ClientError::MalformedInput { place, reason });
                }
            }
        }
    }

    /// Returns the place of the next request.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Returns the last line of an input that ends without a line feed.
    pub fn unterminated_line(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    /// Finds the next request, as the server does.
    fn find(&mut self) -> Found {
        let waiting = &self.buffer[self.at..];
        if waiting.first() == Some(&b'*') {
            if self.dialects == Dialects::Lines {
                let advice = "it begins with `*`, as RESP does, which is sent with --pipe";
                return Found::Malformed(advice.to_owned());
            }
            let mut words = Vec::new();
            return match self.resp.read(waiting, &mut words) {
                resp::Read::Partial => Found::Partial,
                resp::Read::Broken(refusal) => Found::Malformed(refusal.error.message),
                resp::Read::Frame(bytes) => match words.first() {
                    None => Found::Blank(bytes),
                    Some(verb) => {
                        note(verb, &mut self.in_transaction, &mut self.has_quit);
                        Found::Request(bytes)
                    }
                },
            };
        }
        match line::frame(waiting, self.seen) {
            Frame::Partial => {
                self.seen = waiting.len();
                Found::Partial
            }
            Frame::TooLong(refusal) => {
                let reason = refusal.error.message;
                let reason = reason.split(';').next().unwrap_or(&reason);
                Found::Malformed(reason.to_owned())
            }
            Frame::Line(line, bytes) => match verb_of(line) {
                None => Found::Blank(bytes),
                Some(verb) => {
                    note(verb, &mut self.in_transaction, &mut self.has_quit);
                    Found::Request(bytes)
                }
            },
        }
    }

    /// Moves on behind a request; returns where it is in the buffer.
    fn take(&mut self, bytes: usize) -> Range<usize> {
        let taken = self.at..self.at + bytes;
        self.place.line += memchr_iter(b'\n', &self.buffer[taken.clone()]).count() as u64;
        self.place.byte += bytes as u64;
        self.at = taken.end;
        self.seen = 0;
        taken
    }

    /// Reads more; returns the number of bytes, 0 at the end of the input.
    fn fill(&mut self) -> Result<usize, ClientError> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let filled = self.buffer.len();
        self.buffer.resize(filled + READ_BYTES, 0);
        let count = loop {
            match self.source.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.truncate(filled + *count.as_ref().unwrap_or(&0));
        if self.place.byte == 0 && self.buffer.starts_with(BOM.as_bytes()) {
            self.at = BOM.len();
            self.place.byte = BOM.len() as u64;
        }
        count.map_err(ClientError::file("read", "standard input"))
    }

    /// Checks that the input ends where a request does.
    fn end(&self) -> Result<(), ClientError> {
        let rest = self.unterminated_line();
        let place = self.place;
        let inside = if rest.first() == Some(&b'*') {
            format!("{place}: that was not sent")
        } else if verb_of(rest).is_some() {
            format!("{place}: that line has no line feed and was not sent")
        } else if self.in_transaction {
            "a transaction: nothing of that was executed, as no EXEC follows MULTI".to_owned()
        } else {
            return Ok(());
        };
        let end = place.byte + rest.len() as u64;
        Err(ClientError::Cut { end, inside })
    }
}

/// Returns the first word of a line; `None` if it is blank.
fn verb_of(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.split(|byte| matches!(byte, b' ' | b'\t'))
        .find(|word| !word.is_empty())
}

/// Notes a request that begins or ends a transaction, or the connection.
fn note(verb: &[u8], in_transaction: &mut bool, has_quit: &mut bool) {
    let is = |name: &str| verb.eq_ignore_ascii_case(name.as_bytes());
    match verb.len() {
        4 if is("EXEC") => *in_transaction = false,
        4 if is("QUIT") => (*in_transaction, *has_quit) = (false, true),
        5 if is("MULTI") => *in_transaction = true,
        5 if is("RESET") => *in_transaction = false,
        7 if is("DISCARD") => *in_transaction = false,
        _ => {}
    }
}
