//! The dialects, as a client writes and reads them.
//!
//! In: words; bytes of a connection. Out: bytes; one reply at a time, in one form for all dialects.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::reply::Reply;
use super::requests::Words;

/// A reply that has not come after this long will not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// How requests and replies are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Line,
    Resp2,
    Resp3,
}

impl Wire {
    /// Appends a request.
    pub fn write(self, words: &[Vec<u8>], out: &mut Vec<u8>) {
        if self == Self::Line {
            for (place, word) in words.iter().enumerate() {
                if place > 0 {
                    out.push(b' ');
                    let word = std::str::from_utf8(word).expect("lines are text");
                    let word = serde_json::to_string(word).expect("text has a JSON string");
                    out.extend_from_slice(word.as_bytes());
                } else {
                    out.extend_from_slice(word);
                }
            }
            out.push(b'\n');
            return;
        }
        out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            out.extend_from_slice(word);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn read(self, reader: &mut impl BufRead) -> io::Result<Reply> {
        match self {
            Self::Line => read_lines(reader),
            Self::Resp2 | Self::Resp3 => Reply::read(reader),
        }
    }
}

/// Reads a reply of the line dialect. The rows of a listing are its items, and its last line is its head.
fn read_lines(reader: &mut impl BufRead) -> io::Result<Reply> {
    let leaf = |head: Vec<u8>| Reply {
        head,
        body: None,
        items: Vec::new(),
    };
    let mut reply = leaf(read_line(reader)?);
    let head = String::from_utf8_lossy(&reply.head).into_owned();
    let (word, rest) = head.split_once(' ').unwrap_or((&head, ""));
    match word {
        "ARRAY" | "MAP" => {
            let count: usize = rest.parse().map_err(io::Error::other)?;
            let count = if word == "MAP" { 2 * count } else { count };
            let items = (0..count).map(|_| read_lines(reader));
            reply.items = items.collect::<io::Result<_>>()?;
        }
        "ITEM" | "KEY" | "NAMESPACE" => loop {
            let row = std::mem::replace(&mut reply.head, read_line(reader)?);
            reply.items.push(leaf(row));
            if reply.head.starts_with(b"END ") || reply.head.starts_with(b"ERR ") {
                break;
            }
        },
        _ => {}
    }
    Ok(reply)
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        let ended = format!("the connection ended after \"{}\"", line.escape_ascii());
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, ended));
    }
    Ok(line)
}

/// A connection.
pub struct Connection {
    wire: Wire,
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to a server.
    pub fn new(addr: SocketAddr, wire: Wire) -> io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let reader = BufReader::new(stream.try_clone()?);
        let mut connection = Self {
            wire,
            stream,
            reader,
        };
        if wire == Wire::Resp3 {
            connection.ask(&[b"HELLO".to_vec(), b"3".to_vec()])?;
        }
        Ok(connection)
    }

    /// Sends requests in one packet.
    pub fn send(&mut self, requests: &[Words]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for words in requests {
            self.wire.write(words, &mut bytes);
        }
        self.stream.write_all(&bytes)
    }

    /// The next reply.
    pub fn reply(&mut self) -> io::Result<Reply> {
        self.wire.read(&mut self.reader)
    }

    /// Sends a request; its reply.
    pub fn ask(&mut self, words: &[Vec<u8>]) -> io::Result<Reply> {
        self.send(&[words.to_vec()])?;
        self.reply()
    }
}
