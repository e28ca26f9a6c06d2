//! A blocking client of the text port.
//!
//! In: request lines without their line end. Out: the `Line`s of the replies, in the order of the requests. Promises: no request is sent
//! twice; the error says whether a request may have been executed; one line is in memory at a time, however many a reply has.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::error::ClientError;
use crate::interrupt::{INTERRUPT_INTERVAL, is_interrupted};
use crate::reply::{Datum, Line};
use crate::stream::Stream;

/// The time that a host has to accept: enough for another continent, and short enough to wait for at a prompt.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects.
///
/// # Errors
/// [`ClientError::Connect`] if the host is unknown, or none of its addresses accepts in time.
pub fn connect(address: &Address, timeout: Duration) -> Result<Stream, ClientError> {
    Stream::open(address, timeout).map_err(|source| ClientError::Connect {
        address: address.clone(),
        source,
    })
}

/// A connection to a server.
pub struct Connection {
    address: Address,
    stream: Stream,
    reader: BufReader<Stream>,
    line: Vec<u8>,
}

impl Connection {
    /// Connects, and authenticates if the address has a password.
    ///
    /// # Errors
    /// [`ClientError::Connect`]; `Refused` if the server rejects the password; `Lost` if it does not answer in time.
    pub fn open(address: &Address) -> Result<Self, ClientError> {
        Self::open_with(address, CONNECT_TIMEOUT, INTERRUPT_INTERVAL)
    }

    /// Does the same within a shorter time.
    pub fn open_within(address: &Address, timeout: Duration) -> Result<Self, ClientError> {
        Self::open_with(address, timeout, timeout)
    }

    fn open_with(
        address: &Address,
        connect_timeout: Duration,
        read_timeout: Duration,
    ) -> Result<Self, ClientError> {
        let stream = connect(address, connect_timeout)?;
        let reader = stream
            .set_read_timeout(read_timeout)
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
        };
        if let Some(request) = address.auth_request() {
            let until = Instant::now() + connect_timeout;
            connection.send(request.as_bytes())?;
            match connection.line_until(until) {
                Some(Line::Error(code, message)) => {
                    return Err(ClientError::Refused { code, message });
                }
                Some(_) => {}
                None => return Err(connection.lost(io::ErrorKind::TimedOut.into())),
            }
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
        self.send_bytes(&[before, line, b"\n"].concat())
    }

    /// Sends one request, with its end.
    ///
    /// # Errors
    /// [`ClientError::Lost`] if the server has closed, and has not said why.
    pub fn send_bytes(&mut self, request: &[u8]) -> Result<(), ClientError> {
        match self.stream.write_all(request) {
            // A server that closes often says why first, which is worth more than `broken pipe`.
            Err(_) if self.reader.fill_buf().is_ok_and(|said| !said.is_empty()) => Ok(()),
            sent => sent.map_err(|source| self.lost(source)),
        }
    }

    /// Sends a request whose reply is one line, and returns that.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the reply is an error; as [`Connection::send`] and [`Connection::next_line`].
    pub fn ask(&mut self, request: &str) -> Result<Line, ClientError> {
        self.send(request.as_bytes())?;
        match self.next_line()? {
            Line::Error(code, message) => Err(ClientError::Refused { code, message }),
            line => Ok(line),
        }
    }

    /// Returns another handle, for a thread that sends requests while this one reads their replies.
    ///
    /// # Errors
    /// [`ClientError::Lost`] if the system has no more file descriptors.
    pub fn sender(&self) -> Result<Stream, ClientError> {
        self.stream.try_clone().map_err(|source| self.lost(source))
    }

    /// Returns whether the next line has not arrived yet, so that reading it may block.
    pub fn would_block(&self) -> bool {
        memchr::memchr(b'\n', self.reader.buffer()).is_none()
    }

    /// Reads the next line of a reply.
    ///
    /// # Errors
    /// [`ClientError::Foreign`] if the line is none of the protocol; as [`Connection::next_raw_line`].
    pub fn next_line(&mut self) -> Result<Line, ClientError> {
        self.read_line()?;
        Line::parse(&self.line).ok_or_else(|| self.foreign())
    }

    /// Reads a reply in RESP that is no array.
    ///
    /// # Errors
    /// As [`Connection::next_line`].
    pub fn next_resp(&mut self) -> Result<Line, ClientError> {
        self.read_line()?;
        self.line.pop_if(|last| *last == b'\r');
        if let Some(bytes) = Line::resp_value_bytes(&self.line) {
            let mut value = Vec::new();
            self.read_bytes(bytes + 2, |piece| value.extend_from_slice(piece))?;
            value.truncate(bytes);
            return Ok(Line::Value(Datum::of(value)));
        }
        Line::parse_resp(&self.line).ok_or_else(|| self.foreign())
    }

    /// Reads the next line, of whatever protocol, without its line end; returns `None` once the server has closed.
    ///
    /// # Errors
    /// [`ClientError::Lost`] if the connection ends inside a line; [`ClientError::Interrupted`] after Ctrl-C.
    pub fn next_raw_line(&mut self) -> Result<Option<&[u8]>, ClientError> {
        Ok(self.has_line()?.then_some(&self.line))
    }

    fn read_line(&mut self) -> Result<(), ClientError> {
        if self.has_line()? {
            return Ok(());
        }
        Err(self.lost(closed()))
    }

    /// Reads a line; returns false if the server has closed instead.
    fn has_line(&mut self) -> Result<bool, ClientError> {
        self.line.clear();
        loop {
            if is_interrupted() {
                return Err(ClientError::Interrupted);
            }
            match self.reader.read_until(b'\n', &mut self.line) {
                Ok(_) if self.line.pop_if(|last| *last == b'\n').is_some() => return Ok(true),
                Ok(_) if self.line.is_empty() => return Ok(false),
                Ok(_) => return Err(self.lost(closed())),
                // The part of the line that has arrived stays in `line`.
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(self.lost(error)),
            }
        }
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
        while bytes > 0 {
            let count = match self.reader.fill_buf() {
                Ok(waiting) => waiting.len().min(bytes),
                Err(_) if is_interrupted() => return Err(ClientError::Interrupted),
                Err(error) if is_timeout(&error) => continue,
                Err(error) => return Err(self.lost(error)),
            };
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

    fn lost(&self, source: io::Error) -> ClientError {
        ClientError::Lost {
            address: self.address.clone(),
            source,
        }
    }
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

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
