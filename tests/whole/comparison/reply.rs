//! Replies in RESP2 and RESP3, taken apart so that they can be compared part by part.
//!
//! In: bytes of a connection. Out: one reply at a time; all of its bytes can be had back.

use std::io::{self, BufRead};

/// A reply: its first line, and what that line says will follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The first line, without its end.
    pub head: Vec<u8>,
    /// The bytes of a bulk string.
    pub body: Option<Vec<u8>>,
    /// The parts of an array, a map, a set or a push.
    pub items: Vec<Reply>,
}

impl Reply {
    /// Reads one.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Self> {
        let mut head = Vec::new();
        reader.read_until(b'\n', &mut head)?;
        if !head.ends_with(b"\r\n") {
            let ended = format!("the connection ended after \"{}\"", head.escape_ascii());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, ended));
        }
        head.truncate(head.len() - 2);
        let count = || -> Option<usize> { std::str::from_utf8(&head[1..]).ok()?.parse().ok() };
        let mut reply = Self {
            body: None,
            items: Vec::new(),
            head: Vec::new(),
        };
        match (head.first(), count()) {
            (Some(b'$' | b'='), Some(bytes)) => {
                let mut body = vec![0; bytes + 2];
                reader.read_exact(&mut body)?;
                body.truncate(bytes);
                reply.body = Some(body);
            }
            (Some(b'*' | b'~' | b'>'), Some(items)) => {
                let items = (0..items).map(|_| Self::read(reader));
                reply.items = items.collect::<io::Result<_>>()?;
            }
            (Some(b'%'), Some(pairs)) => {
                let items = (0..2 * pairs).map(|_| Self::read(reader));
                reply.items = items.collect::<io::Result<_>>()?;
            }
            _ => {}
        }
        reply.head = head;
        Ok(reply)
    }

    /// The bytes that it came as.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone();
        bytes.extend_from_slice(b"\r\n");
        if let Some(body) = &self.body {
            bytes.extend_from_slice(body);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend(self.items.iter().flat_map(Self::bytes));
        bytes
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<i64> {
        let digits = self.head.strip_prefix(b":")?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    pub fn is_error(&self) -> bool {
        self.head.starts_with(b"-")
    }

    /// Whether it is a message of a channel, which nobody has asked for.
    pub fn is_message(&self) -> bool {
        let first = self.items.first().and_then(|first| first.body.as_deref());
        matches!(
            (first, self.items.len()),
            (Some(b"message"), 3) | (Some(b"pmessage"), 4)
        )
    }
}
