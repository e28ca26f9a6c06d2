//! The load: fifty connections with so many requests in flight on each, sent by one thread.
//!
//! In: an address, a protocol, what to ask. Out: nothing; it ends once all is answered. Promise: an answer that has not come after ten
//! seconds ends the run with an error. Replies are counted by their line feeds, so that reading them is cheap in every protocol.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::{Failure, script};

/// Number of keys to choose from.
pub const KEYS: u64 = 1_000_000;
const CONNECTIONS: usize = 50;
const VALUE_BYTES: usize = 64;
const PATIENCE: Duration = Duration::from_secs(10);

/// Protocol of a server, and the line feeds of its replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// That of Redis, answered by `+OK` to anything.
    Bare,
    /// That of Redis.
    Resp,
    /// PyKV's own, of lines.
    Line,
    /// That of memcached, of lines.
    Memcached,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Operation {
    /// SET of each key once.
    Fill,
    Get,
    Set,
    /// EVAL of the script that releases a lock, on keys that are not there.
    Script,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub address: SocketAddr,
    pub protocol: Protocol,
    pub operation: Operation,
    pub pipeline: usize,
    pub requests: u64,
}

impl Load {
    /// Returns the argument from which [`FromStr`] makes it again.
    pub fn to_argument(self) -> String {
        use clap::ValueEnum as _;
        let (protocol, operation) = (
            self.protocol.to_possible_value(),
            self.operation.to_possible_value(),
        );
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map_or_else(String::new, |value| value.get_name().to_owned())
        };
        let (protocol, operation) = (name(protocol), name(operation));
        format!(
            "{},{protocol},{operation},{},{}",
            self.address, self.pipeline, self.requests
        )
    }
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        use clap::ValueEnum as _;
        let words: Vec<&str> = text.split(',').collect();
        let [address, protocol, operation, pipeline, requests] = &*words else {
            return Err("five words belong to a load".to_owned());
        };
        let number = |word: &str| word.parse::<u64>().map_err(|error| error.to_string());
        Ok(Self {
            address: address.parse().map_err(|_| "no address".to_owned())?,
            protocol: Protocol::from_str(protocol, false)?,
            operation: Operation::from_str(operation, false)?,
            pipeline: usize::try_from(number(pipeline)?).map_err(|error| error.to_string())?,
            requests: number(requests)?,
        })
    }
}

struct Connection {
    stream: TcpStream,
    /// Line feeds that are still to come for the requests in flight.
    missing: usize,
}

impl Load {
    /// Sends all requests, and reads their replies.
    ///
    /// # Errors
    /// Those of the sockets; a reply that does not come.
    pub fn send(&self) -> Result<(), Failure> {
        let mut poll = Poll::new()?;
        let mut connections = Vec::new();
        for number in 0..CONNECTIONS {
            let mut stream = TcpStream::from_std(connect(self.address)?);
            let token = Token(number);
            poll.registry()
                .register(&mut stream, token, Interest::READABLE)?;
            connections.push(Connection { stream, missing: 0 });
        }
        let (mut sent, mut done) = (0, 0);
        let mut text = String::new();
        for connection in &mut connections {
            self.send_next(connection, &mut sent, &mut text)?;
        }
        let mut events = Events::with_capacity(CONNECTIONS);
        let mut buffer = vec![0; 64 << 10];
        while done < self.requests {
            poll.poll(&mut events, Some(PATIENCE))?;
            if events.is_empty() {
                return Err(format!("no answer after {done} of {} requests", self.requests).into());
            }
            for event in &events {
                let connection = &mut connections[event.token().0];
                // A read that does not fill the buffer has emptied the socket.
                let mut read = buffer.len();
                while read == buffer.len() {
                    read = match connection.stream.read(&mut buffer) {
                        Ok(0) => return Err("the server has closed a connection".into()),
                        Ok(read) => read,
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error.into()),
                    };
                    let lines = memchr::memchr_iter(b'\n', &buffer[..read]).count();
                    let missing = connection.missing.checked_sub(lines);
                    connection.missing = missing.ok_or("more is answered than was asked")?;
                    if connection.missing == 0 {
                        done += self.pipeline as u64;
                        self.send_next(connection, &mut sent, &mut text)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn send_next(
        &self,
        connection: &mut Connection,
        sent: &mut u64,
        text: &mut String,
    ) -> Result<(), Failure> {
        if *sent >= self.requests {
            return Ok(());
        }
        text.clear();
        for _ in 0..self.pipeline {
            let number = match self.operation {
                Operation::Fill => *sent % KEYS,
                _ => fastrand::u64(..KEYS),
            };
            self.add_request(number, text);
            *sent += 1;
        }
        connection.missing = self.pipeline * self.lines_of_a_reply();
        Ok(connection.stream.write_all(text.as_bytes())?)
    }

    fn add_request(&self, number: u64, text: &mut String) {
        const VALUE: &str = "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv";
        use std::fmt::Write as _;
        if self.operation == Operation::Script {
            return script::add_request(text, &format!("lock:{number:012}"));
        }
        let is_get = self.operation == Operation::Get;
        let added = match (self.protocol, is_get) {
            (Protocol::Bare | Protocol::Resp, true) => {
                write!(text, "*2\r\n$3\r\nGET\r\n$16\r\nkey:{number:012}\r\n")
            }
            (Protocol::Bare | Protocol::Resp, false) => write!(
                text,
                "*3\r\n$3\r\nSET\r\n$16\r\nkey:{number:012}\r\n${VALUE_BYTES}\r\n{VALUE}\r\n"
            ),
            (Protocol::Line, true) => writeln!(text, "GET key:{number:012}"),
            (Protocol::Line, false) => writeln!(text, "PUT key:{number:012} {VALUE}"),
            (Protocol::Memcached, true) => write!(text, "get key:{number:012}\r\n"),
            (Protocol::Memcached, false) => {
                write!(
                    text,
                    "set key:{number:012} 0 0 {VALUE_BYTES}\r\n{VALUE}\r\n"
                )
            }
        };
        added.expect("a text grows");
    }

    fn lines_of_a_reply(&self) -> usize {
        match (self.protocol, self.operation) {
            (_, Operation::Fill | Operation::Set | Operation::Script)
            | (Protocol::Bare | Protocol::Line, _) => 1,
            (Protocol::Resp, Operation::Get) => 2,
            (Protocol::Memcached, Operation::Get) => 3,
        }
    }
}

fn connect(address: SocketAddr) -> std::io::Result<std::net::TcpStream> {
    let stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}
