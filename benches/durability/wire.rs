//! The two dialects: requests as bytes, and replies out of bytes.
//!
//! In: numbers of pairs; what has come from a server. Out: requests; whole replies and how long they were. Promises: the
//! pair with a given number is always the same, so that a reply can be checked without remembering what was written.

/// How long every key is; the requests below say it in their text.
const KEY_BYTES: usize = 16;
/// How long every value is; the requests below say it in their text.
const VALUE_BYTES: usize = 64;
/// At how many places of the text a value may begin.
const VALUES: usize = 1 << 16;

/// Which server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Pykv,
    Redis,
}

/// One reply, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A write was done.
    Done,
    /// The value that was asked for.
    Value(&'a [u8]),
    /// Anything else: an error, or no such key.
    Other(&'a [u8]),
}

impl Dialect {
    /// What to show.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pykv => "PyKV",
            Self::Redis => "Redis",
        }
    }

    /// What to run.
    pub fn program(self) -> &'static str {
        match self {
            Self::Pykv => env!("CARGO_BIN_EXE_pykv-server"),
            Self::Redis => "redis-server",
        }
    }

    /// Appends the request that writes a pair.
    pub fn write_put(self, out: &mut Vec<u8>, pairs: &Pairs, number: u64) {
        let (key, value) = (Pairs::key(number), pairs.value(number));
        let [before, between, after]: [&[u8]; 3] = match self {
            Self::Pykv => [b"PUT \"", b"\" \"", b"\"\n"],
            Self::Redis => [b"*3\r\n$3\r\nSET\r\n$16\r\n", b"\r\n$64\r\n", b"\r\n"],
        };
        for part in [before, &key, between, value, after] {
            out.extend_from_slice(part);
        }
    }

    /// Appends the request that reads a pair.
    pub fn write_get(self, out: &mut Vec<u8>, number: u64) {
        let [before, after]: [&[u8]; 2] = match self {
            Self::Pykv => [b"GET \"", b"\"\n"],
            Self::Redis => [b"*2\r\n$3\r\nGET\r\n$16\r\n", b"\r\n"],
        };
        for part in [before, &Pairs::key(number), after] {
            out.extend_from_slice(part);
        }
    }

    /// The first reply and its length, if all of it is there.
    pub fn reply(self, bytes: &[u8]) -> Option<(Reply<'_>, usize)> {
        let end = memchr::memchr(b'\n', bytes)?;
        let line = &bytes[..end];
        match self {
            Self::Pykv => Some((pykv_reply(line), end + 1)),
            Self::Redis => redis_reply(line, &bytes[end + 1..])
                .map(|(reply, length)| (reply, end + 1 + length)),
        }
    }
}

fn pykv_reply(line: &[u8]) -> Reply<'_> {
    if line == b"OK" {
        return Reply::Done;
    }
    line.strip_prefix(b"VALUE \"")
        .and_then(|rest| rest.strip_suffix(b"\""))
        .map_or(Reply::Other(line), Reply::Value)
}

/// The reply, and how much of what follows its first line belongs to it.
fn redis_reply<'a>(line: &'a [u8], rest: &'a [u8]) -> Option<(Reply<'a>, usize)> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line == b"+OK" {
        return Some((Reply::Done, 0));
    }
    let length = line
        .strip_prefix(b"$")
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<usize>().ok());
    match length {
        None => Some((Reply::Other(line), 0)),
        Some(length) if rest.len() < length + 2 => None,
        Some(length) => Some((Reply::Value(&rest[..length]), length + 2)),
    }
}

/// All pairs that there can be, by their number.
pub struct Pairs {
    text: Vec<u8>,
}

impl Pairs {
    pub fn new() -> Self {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut random = Random::new(1);
        let text = (0..VALUES + VALUE_BYTES)
            .map(|_| letters[random.below_usize(letters.len())])
            .collect();
        Self { text }
    }

    /// The key with this number; no two are the same.
    pub fn key(number: u64) -> [u8; KEY_BYTES] {
        let digits = b"0123456789abcdef";
        let mixed = mix(number);
        std::array::from_fn(|place| digits[(mixed >> (60 - 4 * place)) as usize & 15])
    }

    /// The value of the key with this number.
    pub fn value(&self, number: u64) -> &[u8] {
        let start = mix(number ^ 0x5555) as usize % VALUES;
        &self.text[start..start + VALUE_BYTES]
    }
}

/// Numbers without a pattern, the same in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below the limit, each as likely as any other.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    fn below_usize(&mut self, limit: usize) -> usize {
        self.below(limit as u64) as usize
    }
}

/// Scatters a number; different numbers stay different (the end of splitmix64).
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}
