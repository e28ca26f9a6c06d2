//! A blocking client of the text port.
//!
//! In: request lines without their line end. Out: the `Line`s of the replies, in the order of the requests. Promises: no request is sent
//! twice; the error says whether a request may have been executed; one line is in memory at a time, however many a reply has; a server that
//! is silent for too long is given up.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::deadline::{self, Step};
use crate::error::ClientError;
use crate::interrupt::{INTERRUPT_INTERVAL, is_interrupted};
use crate::reply::{Datum, Line};
use crate::stream::{OpenError, Outgoing, Stream, is_timeout};

/// A request that only a server that leads answers with a number, whatever there is.
const LEADER_QUESTION: &str = "EXISTS any";

/// Longest silence of the server while a reply is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// As long as the limit says.
    Limited,
    /// As long as the server answers a PING on another connection: the request may take long.
    WhileAlive,
    /// For ever: a message comes when somebody sends one.
    Endless,
}

/// Connects.
///
/// # Errors
/// [`ClientError::Connect`] if the host is unknown, or none of its addresses accepts; `Silent` if that takes longer than the limit;
/// `Interrupted` after Ctrl-C.
pub fn connect(address: &Address, limit: Option<Duration>) -> Result<Stream, ClientError> {
    Stream::open(address, limit).map_err(|error| match error {
        OpenError::Failed(source) => ClientError::Connect {
            address: address.clone(),
            source,
        },
        OpenError::Late(step) => ClientError::silent(address, limit, step),
        OpenError::Interrupted => ClientError::Interrupted,
    })
}

/// A connection to a server.
pub struct Connection {
    address: Address,
    stream: Stream,
    reader: BufReader<Stream>,
    line: Vec<u8>,
    /// The longest silence of the server.
    limit: Option<Duration>,
    /// The verb of the latest request, for errors.
    verb: Option<String>,
    /// The number of bytes that the thread that sends has sent.
    sent: Arc<AtomicU64>,
}

impl Connection {
    /// Connects, authenticates if the address has a password, and selects its database.
    ///
    /// # Errors
    /// As [`connect`]; [`ClientError::Refused`] if the server rejects the password, or has no such database; `Lost` if it closes.
    pub fn open(address: &Address) -> Result<Self, ClientError> {
        Self::open_with(address, deadline::limit())
    }

    /// Does the same, with another limit for this and for the replies.
    pub fn open_within(address: &Address, limit: Duration) -> Result<Self, ClientError> {
        Self::open_with(address, Some(limit))
    }

    /// Connects to a server; of several, to the one that leads, or to any if none does.
    fn open_with(address: &Address, limit: Option<Duration>) -> Result<Self, ClientError> {
        let mut found = None;
        for one in address.each() {
            let asked = Self::open_one(&one, limit).map(|mut connection| {
                let leads = connection.ask(LEADER_QUESTION);
                (connection, leads)
            });
            match asked {
                Ok((connection, Ok(Line::Count(_)))) => return Ok(connection),
                Ok((connection, _)) => found = Some(Ok(connection)),
                Err(ClientError::Interrupted) => return Err(ClientError::Interrupted),
                Err(error) => found = found.or(Some(Err(error))),
            }
        }
        found.unwrap_or_else(|| Self::open_one(address, limit))
    }

    fn open_one(address: &Address, limit: Option<Duration>) -> Result<Self, ClientError> {
        let stream = connect(address, limit)?;
        let pause = limit.map_or(INTERRUPT_INTERVAL, |limit| limit.min(INTERRUPT_INTERVAL));
        let reader = stream
            .set_timeouts(pause, limit)
            .and_then(|()| stream.try_clone());
        let reader = reader.map_err(|source| ClientError::Connect {
            address: address.clone(),
            source,
        })?;
        let mut connection = Self {
            address: address.clone(),
            stream,
            reader: BufReader::with_capacity(64 << 10, reader),
            line: Vec::new(),
            limit,
            verb: None,
            sent: Arc::default(),
        };
        if let Some(request) = address.auth_request() {
            connection.ask(&request)?;
        }
        if address.database() > 0 {
            connection.ask(&format!("SELECT {}", address.database()))?;
        }
        Ok(connection)
    }

    /// Returns the next line, if it arrives in time.
    pub fn line_until(&mut self, until: Instant) -> Option<Line> {
        self.line.clear();
        while Instant::now() < until {
            match self.reader.read_until(b'\n', &mut self.line) {
                Ok(_) => {
                    self.line.pop_if(|last| *last == b'\n')?;
                    return Line::parse(&self.line);
                }
                Err(error) if is_timeout(&error) => {}
                Err(_) => return None,
            }
        }
        None
    }

    /// Returns whether a request may be sent. A server that has closed, or has said something unasked before it closed, is noticed
    /// here, so that the request can go to a new connection: once sent, nobody knows whether it was executed.
    pub fn is_open(&mut self) -> bool {
        let mut look = || {
            self.stream.set_nonblocking(true)?;
            let seen = self.reader.fill_buf().map(drop);
            self.stream.set_nonblocking(false)?;
            seen
        };
        look().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends one request line.
    ///
    /// # Errors
    /// As [`Connection::send_bytes`].
    pub fn send(&mut self, line: &[u8]) -> Result<(), ClientError> {
        // In one write: a line end sent by itself would be a packet of its own.
        // A blank before it keeps a line that begins with `*` from being RESP.
        let before: &[u8] = if line.starts_with(b"*") { b" " } else { b"" };
        let verb = line.split(|byte| matches!(byte, b' ' | b'\t'));
        let verb = verb.into_iter().find(|word| !word.is_empty());
        self.verb = verb.map(|verb| String::from_utf8_lossy(verb).to_ascii_uppercase());
        self.send_bytes(&[before, line, b"\n"].concat())
    }

    /// Sends one request, with its end.
    ///
    /// # Errors
    /// [`ClientError::Lost`] if the server has closed, and has not said why; `Silent` if it takes no bytes.
    pub fn send_bytes(&mut self, request: &[u8]) -> Result<(), ClientError> {
        match self.stream.write_all(request) {
            // A server that closes often says why first, which is worth more than `broken pipe`.
            Err(_) if self.reader.fill_buf().is_ok_and(|said| !said.is_empty()) => Ok(()),
            Err(error) if is_timeout(&error) => Err(self.silent(Step::Send)),
            sent => sent.map_err(|source| self.lost(source)),
        }
    }

    /// Sends a request whose reply is one line, and returns that.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the reply is an error; as [`Connection::send`] and [`Connection::next_line`].
    pub fn ask(&mut self, request: &str) -> Result<Line, ClientError> {
        self.ask_with(request, Patience::Limited)
    }

    /// Does the same with this patience.
    pub fn ask_with(&mut self, request: &str, patience: Patience) -> Result<Line, ClientError> {
        self.send(request.as_bytes())?;
        match self.next_line_with(patience)? {
            Line::Error(code, message) => Err(ClientError::Refused { code, message }),
            line => Ok(line),
        }
    }

    /// Returns the sending end, for a thread that sends requests while this one reads their replies.
    ///
    /// # Errors
    /// [`ClientError::Lost`] if the system has no more file descriptors.
    pub fn sender(&self) -> Result<Outgoing, ClientError> {
        let stream = self.stream.try_clone().and_then(|stream| {
            // A reader of our output that pauses may pause the sending as well; that the server is silent is seen where it is read.
            stream.set_timeouts(INTERRUPT_INTERVAL, None)?;
            Ok(stream)
        });
        let stream = stream.map_err(|source| self.lost(source))?;
        Ok(Outgoing::of(stream, Arc::clone(&self.sent)))
    }

    /// Returns whether the next line has not arrived yet, so that reading it may block.
    pub fn would_block(&self) -> bool {
        memchr::memchr(b'\n', self.reader.buffer()).is_none()
    }

    /// Reads the next line of a reply that takes no long work.
    ///
    /// # Errors
    /// As [`Connection::next_line_with`].
    pub fn next_line(&mut self) -> Result<Line, ClientError> {
        self.next_line_with(Patience::Limited)
    }

    /// Reads the next line of a reply.
    ///
    /// # Errors
    /// [`ClientError::Foreign`] if the line is none of the protocol; as [`Connection::next_raw_line`].
    pub fn next_line_with(&mut self, patience: Patience) -> Result<Line, ClientError> {
        self.read_line(patience)?;
        Line::parse(&self.line).ok_or_else(|| self.foreign())
    }

    /// Reads a reply in RESP that is no array.
    ///
    /// # Errors
    /// As [`Connection::next_line_with`].
    pub fn next_resp(&mut self, patience: Patience) -> Result<Line, ClientError> {
        self.read_line(patience)?;
        self.line.pop_if(|last| *last == b'\r');
        if let Some(bytes) = Line::resp_value_bytes(&self.line) {
            let mut value = Vec::new();
            self.read_bytes(bytes + 2, |piece| value.extend_from_slice(piece))?;
            value.truncate(bytes);
            return Ok(Line::Value(Datum::of(value)));
        }
        Line::parse_resp(&self.line).ok_or_else(|| self.foreign())
    }

    /// Reads the next line, of whatever protocol, without its line end; returns `None` once the server has closed. The server may be silent
    /// for any time while nothing `is_due`.
    ///
    /// # Errors
    /// [`ClientError::Lost`] if the connection ends inside a line; `Silent` if it does not come in time; `Interrupted` after Ctrl-C.
    pub fn next_raw_line(
        &mut self,
        is_due: &dyn Fn() -> bool,
    ) -> Result<Option<&[u8]>, ClientError> {
        Ok(self
            .has_line(Patience::WhileAlive, is_due)?
            .then_some(&self.line))
    }

    fn read_line(&mut self, patience: Patience) -> Result<(), ClientError> {
        if self.has_line(patience, &|| true)? {
            return Ok(());
        }
        Err(self.lost(closed()))
    }

    /// Reads a line; returns false if the server has closed instead.
    fn has_line(
        &mut self,
        patience: Patience,
        is_due: &dyn Fn() -> bool,
    ) -> Result<bool, ClientError> {
        self.line.clear();
        let mut silence = self.silence();
        loop {
            if is_interrupted() {
                return Err(ClientError::Interrupted);
            }
            let begun = self.line.len();
            match self.reader.read_until(b'\n', &mut self.line) {
                Ok(_) if self.line.pop_if(|last| *last == b'\n').is_some() => return Ok(true),
                Ok(_) if self.line.is_empty() => return Ok(false),
                Ok(_) => return Err(self.lost(closed())),
                // The part of the line that has arrived stays in `line`.
                Err(error) if is_timeout(&error) => {
                    if self.line.len() > begun || !is_due() {
                        silence = self.silence();
                    }
                    self.check(&mut silence, patience)?;
                }
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    /// Begins to measure a silence.
    fn silence(&self) -> Silence {
        Silence {
            since: Instant::now(),
            sent: self.sent.load(Relaxed),
        }
    }

    /// Checks that a silence is not too long yet.
    fn check(&self, silence: &mut Silence, patience: Patience) -> Result<(), ClientError> {
        let (Some(limit), false) = (self.limit, patience == Patience::Endless) else {
            return Ok(());
        };
        let is_taking = self.sent.load(Relaxed) > silence.sent;
        let took = silence.since.elapsed();
        if is_interrupted() {
            return Ok(());
        }
        // Half of the time is for the PING, so that a server that is not alive is given up in time as well.
        if is_taking
            || (patience == Patience::WhileAlive && took >= limit / 2 && self.is_alive(limit / 2))
        {
            *silence = self.silence();
            return Ok(());
        }
        if took < limit && (patience == Patience::Limited || took < limit / 2) {
            return Ok(());
        }
        Err(self.silent(Step::Reply(self.verb.clone())))
    }

    /// Returns whether the server answers a PING on another connection, be it with an error.
    fn is_alive(&self, limit: Duration) -> bool {
        let answered = Self::open_within(&self.address, limit)
            .and_then(|mut connection| connection.ask("PING"));
        matches!(answered, Ok(_) | Err(ClientError::Refused { .. }))
    }

    /// Reads bytes of a reply, and drops them.
    pub fn skip(&mut self, bytes: usize) -> Result<(), ClientError> {
        self.read_bytes(bytes, |_| ())
    }

    fn read_bytes(
        &mut self,
        mut bytes: usize,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), ClientError> {
        let mut silence = self.silence();
        while bytes > 0 {
            let count = match self.reader.fill_buf() {
                Ok(waiting) => waiting.len().min(bytes),
                Err(_) if is_interrupted() => return Err(ClientError::Interrupted),
                Err(error) if is_timeout(&error) => {
                    self.check(&mut silence, Patience::Limited)?;
                    continue;
                }
                Err(error) => return Err(self.lost(error)),
            };
            silence = self.silence();
            if count == 0 {
                return Err(self.lost(closed()));
            }
            take(&self.reader.buffer()[..count]);
            self.reader.consume(count);
            bytes -= count;
        }
        Ok(())
    }

    fn foreign(&self) -> ClientError {
        ClientError::Foreign {
            address: self.address.clone(),
            shown: shortened(&self.line),
        }
    }

    fn silent(&self, step: Step) -> ClientError {
        ClientError::silent(&self.address, self.limit, step)
    }

    fn lost(&self, source: io::Error) -> ClientError {
        ClientError::Lost {
            address: self.address.clone(),
            source,
        }
    }
}

/// A silence of the server while a reply is due.
struct Silence {
    since: Instant,
    /// The number of bytes that had been sent when it began: a server that takes more is not silent.
    sent: u64,
}

/// Returns the error of a connection that the server has closed.
pub fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed it")
}

/// Returns the beginning of a line that is none of the protocol, quoted.
pub fn shortened(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    format!("{:?}", text.chars().take(60).collect::<String>())
}
