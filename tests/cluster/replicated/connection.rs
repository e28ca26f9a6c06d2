//! One connection that speaks lines, with a limit on each wait.
//!
//! In: an address, lines. Out: replies; that none has come yet, while one still may; or that the connection has ended.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A server that does not accept within this time is not there.
const CONNECT_MAX: Duration = Duration::from_millis(500);

/// What came of waiting for a reply.
pub enum Waited {
    /// The reply, without the end of its line.
    Reply(String),
    /// None so far.
    NotYet,
    /// None, nor will there be one.
    Ended,
}

/// The connection.
pub struct Connection {
    reader: BufReader<TcpStream>,
    /// What there is of the next reply.
    line: Vec<u8>,
}

impl Connection {
    /// Connects, if the server accepts.
    pub fn open(addr: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&addr, CONNECT_MAX).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self {
            reader: BufReader::new(stream),
            line: Vec::new(),
        })
    }

    /// Sends a line on a new connection; the reply to it, if there is one in time.
    pub fn ask_once(addr: SocketAddr, line: &str, reply_max: Duration) -> Option<String> {
        let mut connection = Self::open(addr)?;
        if !connection.send(line, reply_max) {
            return None;
        }
        match connection.wait(reply_max) {
            Waited::Reply(reply) => Some(reply),
            Waited::NotYet | Waited::Ended => None,
        }
    }

    /// Sends a line; whether all of it went out in time.
    pub fn send(&mut self, line: &str, send_max: Duration) -> bool {
        let stream = self.reader.get_mut();
        let set = stream.set_write_timeout(Some(send_max));
        set.is_ok() && stream.write_all(format!("{line}\n").as_bytes()).is_ok()
    }

    /// Waits for the next reply.
    pub fn wait(&mut self, reply_max: Duration) -> Waited {
        if self
            .reader
            .get_ref()
            .set_read_timeout(Some(reply_max))
            .is_err()
        {
            return Waited::Ended;
        }
        match self.reader.read_until(b'\n', &mut self.line) {
            Ok(_) if self.line.pop_if(|last| *last == b'\n').is_some() => {
                let line = std::mem::take(&mut self.line);
                Waited::Reply(String::from_utf8(line).expect("replies are text"))
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Waited::NotYet
            }
            Ok(_) | Err(_) => Waited::Ended,
        }
    }
}
