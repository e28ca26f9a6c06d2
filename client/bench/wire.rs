//! Requests and replies of a benchmark, in either protocol.
//!
//! In: keys and values of letters and digits; received bytes. Out: bytes of requests; the reply at the start of the received bytes. Promise:
//! the bytes of an incomplete line are scanned once.

use memchr::memchr;

/// The namespace of the keys, so that `DELPREFIX bench:` deletes them.
pub const KEY_PREFIX: &str = "bench:";

/// A key of fixed length, in a buffer that is reused for each request.
pub struct BenchKey(Vec<u8>);

impl BenchKey {
    /// Returns a buffer for keys of so many bytes, which must suffice for every number.
    pub fn new(bytes: usize) -> Self {
        let mut key = KEY_PREFIX.as_bytes().to_vec();
        key.resize(bytes, b'0');
        Self(key)
    }

    /// Returns the key of a number.
    pub fn of(&mut self, number: u64) -> &[u8] {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(number).as_bytes();
        let room = &mut self.0[KEY_PREFIX.len()..];
        let (zeros, place) = room.split_at_mut(room.len() - digits.len());
        zeros.fill(b'0');
        place.copy_from_slice(digits);
        &self.0
    }
}

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Encoding {
    /// PyKV's lines
    Line,
    /// RESP2, as Redis clients speak it
    Resp,
}

impl Encoding {
    /// Returns its name, as in `--dialect`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Resp => "resp",
        }
    }

    /// Writes a request that reads a key.
    pub fn get(self, out: &mut Vec<u8>, key: &[u8]) {
        match self {
            Self::Line => push(out, [b"GET ", key, b"\n"]),
            Self::Resp => {
                out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
                bulk(out, key);
            }
        }
    }

    /// Writes a request that stores a value.
    pub fn put(self, out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
        match self {
            Self::Line => push(out, [b"PUT ", key, b" ", value, b"\n"]),
            Self::Resp => {
                out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
                bulk(out, key);
                bulk(out, value);
            }
        }
    }

    /// Returns the reply at the start of `bytes`, the first `seen` of which hold no line end.
    pub fn reply(self, bytes: &[u8], seen: usize) -> WireReply<'_> {
        let Some(end) = memchr(b'\n', &bytes[seen..]).map(|end| seen + end) else {
            return WireReply::Partial(bytes.len());
        };
        let line = &bytes[..end];
        let (line, length) = (line.strip_suffix(b"\r").unwrap_or(line), end + 1);
        match self {
            Self::Line if line == b"OK" || line.starts_with(b"VALUE ") => WireReply::Done(length),
            Self::Line if line == b"NOT_FOUND" => WireReply::Missing(length),
            Self::Line => match line.strip_prefix(b"ERR ") {
                Some(error) => WireReply::Error(error, length),
                None => WireReply::Foreign(line),
            },
            Self::Resp => match line.split_first() {
                Some((b'+', _)) => WireReply::Done(length),
                Some((b'-', error)) => WireReply::Error(error, length),
                Some((b'$', b"-1")) => WireReply::Missing(length),
                Some((b'$', value)) => match std::str::from_utf8(value).map(str::parse::<usize>) {
                    Ok(Ok(value)) if bytes.len() >= length + value + 2 => {
                        WireReply::Done(length + value + 2)
                    }
                    // The first line is scanned again, which is short.
                    Ok(Ok(_)) => WireReply::Partial(0),
                    _ => WireReply::Foreign(line),
                },
                _ => WireReply::Foreign(line),
            },
        }
    }
}

/// The reply at the start of the received bytes. All but the first two hold its length.
#[derive(Debug, PartialEq, Eq)]
pub enum WireReply<'a> {
    /// An incomplete reply, and the bytes that need not be scanned again.
    Partial(usize),
    /// A line of another protocol.
    Foreign(&'a [u8]),
    /// The value was stored or found.
    Done(usize),
    /// The key does not exist.
    Missing(usize),
    /// An error reply.
    Error(&'a [u8], usize),
}

fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut buffer = itoa::Buffer::new();
    let length = buffer.format(bytes.len()).as_bytes();
    push(out, [b"$", length, b"\r\n", bytes, b"\r\n"]);
}

fn push<const PARTS: usize>(out: &mut Vec<u8>, parts: [&[u8]; PARTS]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_holds_its_number_and_nothing_of_the_previous_one() {
        let mut key = BenchKey::new(10);
        for (number, expected) in [(0, "bench:0000"), (9_999, "bench:9999"), (42, "bench:0042")] {
            assert_eq!(key.of(number), expected.as_bytes());
        }
        let longest = format!("bench:{}", u64::MAX);
        assert_eq!(
            BenchKey::new(longest.len()).of(u64::MAX),
            longest.as_bytes()
        );
    }

    #[test]
    fn requests_are_encoded_in_each_protocol() {
        let written = |dialect: Encoding| {
            let mut out = Vec::new();
            dialect.get(&mut out, b"bench:7");
            dialect.put(&mut out, b"bench:7", b"abc");
            String::from_utf8(out).expect("text")
        };
        assert_eq!(written(Encoding::Line), "GET bench:7\nPUT bench:7 abc\n");
        assert_eq!(
            written(Encoding::Resp),
            "*2\r\n$3\r\nGET\r\n$7\r\nbench:7\r\n*3\r\n$3\r\nSET\r\n$7\r\nbench:7\r\n$3\r\nabc\r\n"
        );
    }

    #[test]
    fn a_reply_is_recognized_once_it_is_complete() {
        use WireReply::{Done, Error, Foreign, Missing, Partial};
        for (dialect, bytes, reply) in [
            (Encoding::Line, "OK\nOK\n", Done(3)),
            (Encoding::Line, "VALUE \"a\"\r\n", Done(11)),
            (Encoding::Line, "NOT_FOUND\n", Missing(10)),
            (Encoding::Line, "ERR DISK full\n", Error(b"DISK full", 14)),
            (Encoding::Line, "VALUE \"a", Partial(8)),
            (Encoding::Line, "HTTP/1.1 400\n", Foreign(b"HTTP/1.1 400")),
            (Encoding::Resp, "+OK\r\n+OK\r\n", Done(5)),
            (Encoding::Resp, "$-1\r\n", Missing(5)),
            (Encoding::Resp, "$3\r\na\nb\r\n", Done(9)),
            (Encoding::Resp, "$3\r\na\nb\r", Partial(0)),
            (Encoding::Resp, "$3", Partial(2)),
            (Encoding::Resp, "-ERR no\r\n", Error(b"ERR no", 9)),
            (Encoding::Resp, "OK\n", Foreign(b"OK")),
            (Encoding::Resp, "$x\r\n", Foreign(b"$x")),
        ] {
            assert_eq!(dialect.reply(bytes.as_bytes(), 0), reply, "{bytes:?}");
        }
    }
}
