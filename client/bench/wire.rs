//! Requests and replies of a load, in either dialect.
//!
//! In: keys and values of plain letters and digits; what a server says. Out: bytes of requests; which reply stands at the
//! beginning of what has come. Promise: no byte of an unfinished reply is looked at twice.

use memchr::memchr;

use super::PREFIX;

/// A key of a fixed length, whose number is written over: none is made anew for a request.
pub struct Key(Vec<u8>);

impl Key {
    /// Room for keys of so many bytes, which are enough for every number.
    pub fn new(bytes: usize) -> Self {
        let mut key = PREFIX.as_bytes().to_vec();
        key.resize(bytes, b'0');
        Self(key)
    }

    /// The key of a number.
    pub fn of(&mut self, number: u64) -> &[u8] {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(number).as_bytes();
        let room = &mut self.0[PREFIX.len()..];
        let (zeros, place) = room.split_at_mut(room.len() - digits.len());
        zeros.fill(b'0');
        place.copy_from_slice(digits);
        &self.0
    }
}

/// How requests are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Dialect {
    /// PyKV's lines
    Line,
    /// As Redis clients write them (RESP2)
    Resp,
}

impl Dialect {
    /// Its name, as it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Resp => "resp",
        }
    }

    /// Writes a request for the value of a key.
    pub fn get(self, out: &mut Vec<u8>, key: &[u8]) {
        match self {
            Self::Line => {
                out.extend_from_slice(b"GET ");
                out.extend_from_slice(key);
                out.push(b'\n');
            }
            Self::Resp => {
                out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
                bulk(out, key);
            }
        }
    }

    /// Writes a request to store a value under a key.
    pub fn put(self, out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
        match self {
            Self::Line => {
                out.extend_from_slice(b"PUT ");
                out.extend_from_slice(key);
                out.push(b' ');
                out.extend_from_slice(value);
                out.push(b'\n');
            }
            Self::Resp => {
                out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
                bulk(out, key);
                bulk(out, value);
            }
        }
    }

    /// The reply at the beginning of `bytes`, of which so many have been looked at in vain.
    pub fn reply(self, bytes: &[u8], seen: usize) -> Reply<'_> {
        let Some(end) = memchr(b'\n', &bytes[seen..]).map(|end| seen + end) else {
            return Reply::Partial(bytes.len());
        };
        let line = &bytes[..end];
        let (line, length) = (line.strip_suffix(b"\r").unwrap_or(line), end + 1);
        match self {
            Self::Line if line == b"OK" || line.starts_with(b"VALUE ") => Reply::Done(length),
            Self::Line if line == b"NOT_FOUND" => Reply::Missing(length),
            Self::Line => match line.strip_prefix(b"ERR ") {
                Some(error) => Reply::Error(error, length),
                None => Reply::Foreign(line),
            },
            Self::Resp => match line.split_first() {
                Some((b'+', _)) => Reply::Done(length),
                Some((b'-', error)) => Reply::Error(error, length),
                Some((b'$', b"-1")) => Reply::Missing(length),
                Some((b'$', value)) => match std::str::from_utf8(value).map(str::parse::<usize>) {
                    Ok(Ok(value)) if bytes.len() >= length + value + 2 => {
                        Reply::Done(length + value + 2)
                    }
                    // The first line is looked at again, and is short.
                    Ok(Ok(_)) => Reply::Partial(0),
                    _ => Reply::Foreign(line),
                },
                _ => Reply::Foreign(line),
            },
        }
    }
}

/// What stands at the beginning of what has come. Each but the first two has the bytes that it takes.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// No whole reply; so many bytes need not be looked at again.
    Partial(usize),
    /// What no such server says.
    Foreign(&'a [u8]),
    /// Stored, or found.
    Done(usize),
    /// Not found.
    Missing(usize),
    /// Refused.
    Error(&'a [u8], usize),
}

fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'$');
    out.extend_from_slice(itoa::Buffer::new().format(bytes.len()).as_bytes());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_holds_its_number_and_nothing_of_the_one_before() {
        let mut key = Key::new(10);
        for (number, expected) in [(0, "bench:0000"), (9_999, "bench:9999"), (42, "bench:0042")] {
            assert_eq!(key.of(number), expected.as_bytes());
        }
        let longest = format!("bench:{}", u64::MAX);
        assert_eq!(Key::new(longest.len()).of(u64::MAX), longest.as_bytes());
    }

    #[test]
    fn requests_are_written_as_each_dialect_has_them() {
        let written = |dialect: Dialect| {
            let mut out = Vec::new();
            dialect.get(&mut out, b"bench:7");
            dialect.put(&mut out, b"bench:7", b"abc");
            String::from_utf8(out).expect("text")
        };
        assert_eq!(written(Dialect::Line), "GET bench:7\nPUT bench:7 abc\n");
        assert_eq!(
            written(Dialect::Resp),
            "*2\r\n$3\r\nGET\r\n$7\r\nbench:7\r\n*3\r\n$3\r\nSET\r\n$7\r\nbench:7\r\n$3\r\nabc\r\n"
        );
    }

    #[test]
    fn a_reply_is_known_once_it_is_whole() {
        use Reply::{Done, Error, Foreign, Missing, Partial};
        for (dialect, bytes, reply) in [
            (Dialect::Line, "OK\nOK\n", Done(3)),
            (Dialect::Line, "VALUE \"a\"\r\n", Done(11)),
            (Dialect::Line, "NOT_FOUND\n", Missing(10)),
            (Dialect::Line, "ERR DISK full\n", Error(b"DISK full", 14)),
            (Dialect::Line, "VALUE \"a", Partial(8)),
            (Dialect::Line, "HTTP/1.1 400\n", Foreign(b"HTTP/1.1 400")),
            (Dialect::Resp, "+OK\r\n+OK\r\n", Done(5)),
            (Dialect::Resp, "$-1\r\n", Missing(5)),
            (Dialect::Resp, "$3\r\na\nb\r\n", Done(9)),
            (Dialect::Resp, "$3\r\na\nb\r", Partial(0)),
            (Dialect::Resp, "$3", Partial(2)),
            (Dialect::Resp, "-ERR no\r\n", Error(b"ERR no", 9)),
            (Dialect::Resp, "OK\n", Foreign(b"OK")),
            (Dialect::Resp, "$x\r\n", Foreign(b"$x")),
        ] {
            assert_eq!(dialect.reply(bytes.as_bytes(), 0), reply, "{bytes:?}");
        }
    }
}
