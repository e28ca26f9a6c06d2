//! The dialects of Redis clients, RESP2 and RESP3: `*2\r\n$3\r\nGET\r\n$4\r\nname\r\n` <-> `Request`, `Reply`.
//!
//! In: bytes as they arrive, from a `*` on. Out: complete requests that borrow from those bytes, and replies. Promises: parsing of
//! a partial request continues where it stopped; a frame that is malformed or over a limit is answered with Redis's error and
//! closes the connection, as the start of the next request is unknown.
//! Source: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr;
use smallvec::SmallVec;

use super::line::QUOTED_LINE_BYTES_MAX;
use super::{
    Changed, ErrorCode, ErrorReply, INVALIDATION_CHANNEL, Refusal, Reply, Subscription, Words,
};
use crate::model::VALUE_BYTES_MAX;
use crate::receive_buffer::CONTENT_BYTES_MAX;

/// Maximum number of words of a request, as in Redis.
pub const WORDS_MAX: usize = 1 << 20;

/// Maximum length of a request in bytes: that of a line.
pub const REQUEST_BYTES_MAX: usize = QUOTED_LINE_BYTES_MAX;
const _: () = assert!(REQUEST_BYTES_MAX <= CONTENT_BYTES_MAX, "it is received");

/// Maximum length of a number and its sign in bytes, as in Redis.
const NUMBER_BYTES_MAX: usize = 64 << 10;

/// Maximum number of words of a request that [`read_whole`] parses: if it turns out to be incomplete, they are parsed again.
const WHOLE_WORDS_MAX: usize = 16;
/// Maximum number of digits of a number that [`read_whole`] parses.
const SHORT_DIGITS_MAX: usize = 6;

/// The first request of a buffer.
#[derive(Debug)]
pub enum Read {
    /// The request is not complete.
    Partial,
    /// A request of this length in bytes. Its words, which may be none, have been appended to those given.
    Frame(usize),
    /// The bytes are not a request.
    Broken(Refusal),
}

/// Parser of the first request of a buffer, which keeps its progress.
#[derive(Debug, Default)]
pub struct Reader {
    /// Number of words that are still expected; `None` before the first line is complete.
    due: Option<usize>,
    words: SmallVec<[Range<usize>; 4]>,
    /// Offset of the next line.
    at: usize,
    /// End of the word that has arrived in part.
    word_end: usize,
}

impl Reader {
    /// Continues to parse the first request of `buffer`, which must begin with the buffer of the previous call if that has
    /// returned [`Read::Partial`].
    #[inline(always)]
    pub fn read<'a>(&mut self, buffer: &'a [u8], words: &mut Words<'a>) -> Read {
        if self.due.is_none()
            && let Some(taken) = read_whole(buffer, words)
        {
            return Read::Frame(taken);
        }
        match self.advance(buffer) {
            Ok(false) => Read::Partial,
            Ok(true) => {
                let read = self.words.iter().map(|word| &buffer[word.clone()]);
                words.extend(read.map(Cow::Borrowed));
                Read::Frame(std::mem::take(self).at)
            }
            Err(reason) => Read::Broken(Refusal {
                error: ErrorReply::new(ErrorCode::Syntax, format!("Protocol error: {reason}")),
                closes: true,
            }),
        }
    }

    /// Returns the number of missing bytes of a word that has arrived in part, in a request of which `received` bytes have arrived.
    #[must_use]
    pub fn missing(&self, received: usize) -> usize {
        self.word_end.saturating_sub(received)
    }

    /// Parses what has arrived. Returns true if the request is complete.
    fn advance(&mut self, buffer: &[u8]) -> Result<bool, String> {
        let mut due = if let Some(due) = self.due {
            due
        } else {
            let Some((number, next)) = number(buffer, 1, "mbulk")? else {
                return Ok(false);
            };
            // As in Redis, a request of no or a negative number of words is empty.
            let words = number.and_then(|words| usize::try_from(words.max(0)).ok());
            let words = words.filter(|words| *words <= WORDS_MAX);
            self.at = next;
            *self.due.insert(words.ok_or("invalid multibulk length")?)
        };
        while due > 0 {
            match buffer.get(self.at) {
                None => return Ok(false),
                Some(b'$') => {}
                Some(other) => {
                    let shown = if other.is_ascii() {
                        char::from(*other)
                    } else {
                        char::REPLACEMENT_CHARACTER
                    };
                    return Err(format!("expected '$', got '{shown}'"));
                }
            }
            let Some((number, start)) = number(buffer, self.at + 1, "bulk")? else {
                return Ok(false);
            };
            let bytes = number.and_then(|bytes| usize::try_from(bytes).ok());
            let bytes = bytes.filter(|bytes| *bytes <= VALUE_BYTES_MAX);
            let bytes = bytes.ok_or("invalid bulk length")?;
            let end = start + bytes;
            if end > REQUEST_BYTES_MAX {
                return Err(format!(
                    "the request is longer than {REQUEST_BYTES_MAX} bytes"
                ));
            }
            if buffer.len() < end + 2 {
                self.word_end = end + 2;
                return Ok(false);
            }
            self.words.push(start..end);
            self.at = end + 2;
            due -= 1;
            self.due = Some(due);
        }
        Ok(true)
    }
}

/// Parses a complete, short and well-formed request, as nearly all are. Leaves `words` unchanged for any other, which is left to
/// [`Reader`].
#[inline(always)]
fn read_whole<'a>(buffer: &'a [u8], words: &mut Words<'a>) -> Option<usize> {
    let first = words.len();
    let read = |words: &mut Words<'a>| {
        let (count, mut rest) = short_number(buffer.get(1..)?)?;
        if count > WHOLE_WORDS_MAX {
            return None;
        }
        for _ in 0..count {
            let (length, from_word) = short_number(rest.strip_prefix(b"$")?)?;
            if length > VALUE_BYTES_MAX {
                return None;
            }
            let (word, from_end) = from_word.split_at_checked(length)?;
            rest = from_end.get(2..)?;
            words.push(Cow::Borrowed(word));
        }
        let bytes = buffer.len() - rest.len();
        (bytes <= REQUEST_BYTES_MAX).then_some(bytes)
    };
    let taken = read(words);
    if taken.is_none() {
        words.truncate(first);
    }
    taken
}

/// Parses a line with a number of a few digits, mostly one or two. Returns the number and what follows the line.
#[inline(always)]
fn short_number(line: &[u8]) -> Option<(usize, &[u8])> {
    // Redis does not accept leading zeros.
    match line {
        [one @ b'0'..=b'9', b'\r', _, rest @ ..] => Some((usize::from(one - b'0'), rest)),
        [ten @ b'1'..=b'9', one @ b'0'..=b'9', b'\r', _, rest @ ..] => {
            Some((10 * usize::from(ten - b'0') + usize::from(one - b'0'), rest))
        }
        [b'1'..=b'9', ..] => {
            let digits = line.iter().take(SHORT_DIGITS_MAX);
            let digits = digits.take_while(|byte| byte.is_ascii_digit()).count();
            let (digits, rest) = line.split_at(digits);
            let number = digits
                .iter()
                .fold(0, |number, digit| 10 * number + usize::from(digit - b'0'));
            let [b'\r', _, rest @ ..] = rest else {
                return None;
            };
            Some((number, rest))
        }
        _ => None,
    }
}

/// Parses the line at `start`, if it is complete. Returns the number, `None` if it is not one, and the offset of the next line.
fn number(buffer: &[u8], start: usize, what: &str) -> Result<Option<(Option<i64>, usize)>, String> {
    let line = &buffer[start..];
    let Some(end) = memchr(b'\r', &line[..line.len().min(NUMBER_BYTES_MAX)]) else {
        // The sign counts, as in Redis.
        if line.len() >= NUMBER_BYTES_MAX {
            return Err(format!("too big {what} count string"));
        }
        return Ok(None);
    };
    if line.len() < end + 2 {
        return Ok(None);
    }
    Ok(Some((whole_number(&line[..end]), start + end + 2)))
}

/// Parses an integer as strictly as Redis: no blank, no plus, no leading zero.
#[must_use]
pub fn whole_number(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = text == "0" || digits.starts_with(|digit: char| ('1'..='9').contains(&digit));
    if is_plain { text.parse().ok() } else { None }
}

/// Appends a reply to a buffer, in RESP2 or RESP3.
#[inline(always)]
pub fn write(out: &mut Vec<u8>, reply: Reply<'_>, is_resp3: bool) {
    match reply {
        Reply::Ok | Reply::Stored(_) => out.extend_from_slice(b"+OK\r\n"),
        Reply::Raw(bytes) => out.extend_from_slice(bytes),
        Reply::Pong => out.extend_from_slice(b"+PONG\r\n"),
        Reply::Queued => out.extend_from_slice(b"+QUEUED\r\n"),
        Reply::Status(text) | Reply::Monitor(text) => {
            out.extend_from_slice(format!("+{text}\r\n").as_bytes());
        }
        Reply::NotFound | Reply::Unchanged | Reply::NoArray if is_resp3 => {
            out.extend_from_slice(b"_\r\n");
        }
        Reply::NotFound | Reply::Unchanged => out.extend_from_slice(b"$-1\r\n"),
        Reply::NoArray => out.extend_from_slice(b"*-1\r\n"),
        Reply::Value(value) => write_value(out, value),
        Reply::Found(value) => write_value(out, value.bytes()),
        // The rows are in a map, whose length was sent before them.
        Reply::NamespacesEnd(..) => {}
        Reply::Text(text) if is_resp3 => {
            write_number(out, b'=', text.len() as u64 + 4);
            out.extend_from_slice(format!("txt:{text}\r\n").as_bytes());
        }
        Reply::Double(text) if is_resp3 => {
            out.extend_from_slice(format!(",{text}\r\n").as_bytes());
        }
        Reply::Text(text) | Reply::Double(text) => write_value(out, text.as_bytes()),
        Reply::Key(key) => write_value(out, key),
        Reply::Count(count) => write_number(out, b':', count),
        Reply::Number(number) | Reply::Signed(number) => {
            out.extend_from_slice(format!(":{number}\r\n").as_bytes());
        }
        Reply::Set(replies) if is_resp3 => write_number(out, b'~', replies as u64),
        Reply::Array(replies) | Reply::Set(replies) => write_number(out, b'*', replies as u64),
        Reply::Map(pairs) if is_resp3 => write_number(out, b'%', pairs as u64),
        Reply::Map(pairs) => write_number(out, b'*', 2 * pairs as u64),
        Reply::Namespace(name, keys) => {
            write_value(out, name);
            write_number(out, b':', keys);
        }
        Reply::Error(error) => write_error(out, error),
        Reply::Subscription(event, name, count) => {
            write_push(out, 3, is_resp3);
            write_value(out, word_of(event));
            match name {
                Some(name) => write_value(out, name),
                None => write(out, Reply::NotFound, is_resp3),
            }
            write_number(out, b':', count as u64);
        }
        Reply::Message(pattern, channel, payload) => {
            let words: &[&[u8]] = match pattern {
                Some(pattern) => &[b"pmessage", pattern, channel, payload],
                None => &[b"message", channel, payload],
            };
            write_message(out, words, is_resp3);
        }
        Reply::ShardMessage(channel, payload) => {
            write_message(out, &[b"smessage", channel, payload], is_resp3);
        }
        Reply::Invalidated(key) => {
            if is_resp3 {
                write_push(out, 2, true);
                write_value(out, b"invalidate");
            } else {
                write_push(out, 3, false);
                write_value(out, b"message");
                write_value(out, INVALIDATION_CHANNEL);
            }
            match key {
                Some(key) => {
                    write_number(out, b'*', 1);
                    write_value(out, key);
                }
                None => write(out, Reply::NotFound, is_resp3),
            }
        }
        Reply::RedirectionBroken(client) => {
            write_push(out, 2, is_resp3);
            write_value(out, b"tracking-redir-broken");
            write_number(out, b':', client);
        }
        Reply::Following(prefix, revision) => {
            write_push(out, 3, is_resp3);
            write_value(out, b"following");
            write_value(out, prefix);
            write_number(out, b':', revision);
        }
        Reply::Unfollowed(prefix) => {
            write_push(out, 2, is_resp3);
            write_value(out, b"unfollowed");
            write_value(out, prefix);
        }
        Reply::Change(revision, changed) => write_change(out, revision, changed, is_resp3),
        Reply::Item(..) | Reply::Stat(..) | Reply::Help(..) | Reply::End(_) => {
            unreachable!("no command of this dialect replies with these rows")
        }
    }
}

fn write_change(out: &mut Vec<u8>, revision: u64, changed: Changed<'_>, is_resp3: bool) {
    let words = match changed {
        Changed::Put(..) => 6,
        Changed::Evict(_) => 5,
        Changed::Delete(_) => 4,
        Changed::Clear => 3,
    };
    write_push(out, words, is_resp3);
    write_value(out, b"change");
    write_number(out, b':', revision);
    match changed {
        Changed::Put(key, value, expires_at) => {
            write_value(out, b"put");
            write_value(out, key);
            write_value(out, value);
            match expires_at {
                Some(expires_at) => write_number(out, b':', expires_at),
                None => write(out, Reply::NotFound, is_resp3),
            }
        }
        Changed::Delete(key) => {
            write_value(out, b"del");
            write_value(out, key);
        }
        Changed::Evict(key) => {
            write_value(out, b"del");
            write_value(out, key);
            write_value(out, b"evicted");
        }
        Changed::Clear => write_value(out, b"clear"),
    }
}

fn word_of(event: Subscription) -> &'static [u8] {
    match event {
        Subscription::Begun => b"subscribe",
        Subscription::Ended => b"unsubscribe",
        Subscription::PatternBegun => b"psubscribe",
        Subscription::PatternEnded => b"punsubscribe",
        Subscription::ShardBegun => b"ssubscribe",
        Subscription::ShardEnded => b"sunsubscribe",
    }
}

/// Appends a push of these words.
fn write_message(out: &mut Vec<u8>, words: &[&[u8]], is_resp3: bool) {
    write_push(out, words.len(), is_resp3);
    for word in words {
        write_value(out, word);
    }
}

/// Appends the head of a push.
fn write_push(out: &mut Vec<u8>, words: usize, is_resp3: bool) {
    write_number(out, if is_resp3 { b'>' } else { b'*' }, words as u64);
}

#[inline(always)]
fn write_value(out: &mut Vec<u8>, value: &[u8]) {
    value_opening(out, value.len());
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of a value of that many bytes; the value and `\r\n` complete it.
pub fn value_opening(out: &mut Vec<u8>, bytes: usize) {
    write_number(out, b'$', bytes as u64);
}

#[inline(always)]
fn write_number(out: &mut Vec<u8>, kind: u8, number: u64) {
    // Most have one digit or two: to append what has a known length takes no call.
    match u8::try_from(number) {
        Ok(one @ 0..=9) => out.extend_from_slice(&[kind, b'0' + one, b'\r', b'\n']),
        Ok(two @ 10..=99) => {
            let (ten, one) = (b'0' + two / 10, b'0' + two % 10);
            out.extend_from_slice(&[kind, ten, one, b'\r', b'\n']);
        }
        _ => {
            out.push(kind);
            out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn write_error(out: &mut Vec<u8>, error: &ErrorReply) {
    out.push(b'-');
    // The error of a script has its own.
    if error.code != ErrorCode::Script {
        out.extend_from_slice(error.redis_prefix().as_bytes());
        out.push(b' ');
    }
    // The text may quote the request: replace line breaks, so that the reply is one line.
    let line = error.message.bytes();
    out.extend(line.map(|byte| match byte {
        b'\r' | b'\n' => b' ',
        _ => byte,
    }));
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses bytes that arrive at once.
    fn at_once(bytes: &[u8]) -> String {
        read(&mut Reader::default(), bytes)
    }

    fn read(reader: &mut Reader, bytes: &[u8]) -> String {
        let mut words = Words::new();
        match reader.read(bytes, &mut words) {
            Read::Partial => "partial".to_owned(),
            Read::Frame(taken) => {
                let words = words.iter().map(|word| String::from_utf8_lossy(word));
                format!("{:?} {taken}", words.collect::<Vec<_>>())
            }
            Read::Broken(refusal) => refusal.error.message.clone(),
        }
    }

    #[test]
    fn a_request_is_read_the_same_however_it_is_cut() {
        let whole = b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\na\r\nb\r\nrest";
        let mut reader = Reader::default();
        for end in 1..29 {
            assert_eq!(read(&mut reader, &whole[..end]), "partial", "{end}");
        }
        let is = r#"["SET", "", "a\r\nb"] 29"#;
        assert_eq!(read(&mut reader, &whole[..29]), is);
        assert_eq!(at_once(whole), is);
    }

    #[test]
    fn a_request_of_exactly_the_limit_may_come_and_one_byte_more_may_not() {
        let longest = format!("$67108864\r\n{}\r\n", "x".repeat(67_108_864));
        let head = format!("*7\r\n{}", longest.repeat(6));
        // The head of the last word: `$`, six digits and `\r\n`.
        let room = 403_047_424 - head.len() - 9;
        assert_eq!(at_once(format!("{head}${room}\r\n").as_bytes()), "partial");
        assert_eq!(
            at_once(format!("{head}${}\r\n", room + 1).as_bytes()),
            "Protocol error: the request is longer than 403047424 bytes"
        );
    }

    #[test]
    fn a_request_of_no_words_asks_for_nothing() {
        assert_eq!(at_once(b"*0\r\n"), "[] 4");
        assert_eq!(at_once(b"*-1\r\n"), "[] 5");
    }

    #[test]
    fn a_broken_frame_is_told_of_as_redis_tells_it() {
        for (bytes, is) in [
            (&b"*x\r\n"[..], "invalid multibulk length"),
            (b"*+1\r\n", "invalid multibulk length"),
            (b"*01\r\n", "invalid multibulk length"),
            (b"*1048577\r\n", "invalid multibulk length"),
            (b"*1\r\n:1\r\n", "expected '$', got ':'"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$\r\n", "invalid bulk length"),
            (b"*1\r\n$67108865\r\n", "invalid bulk length"),
        ] {
            assert_eq!(at_once(bytes), format!("Protocol error: {is}"));
        }
        for is_at_limit in [b"*1048576\r\n".as_slice(), b"*1\r\n$67108864\r\n"] {
            assert_eq!(at_once(is_at_limit), "partial");
        }
        let mut endless = vec![b'1'; NUMBER_BYTES_MAX];
        endless[0] = b'*';
        assert_eq!(at_once(&endless), "partial");
        endless.push(b'1');
        assert_eq!(
            at_once(&endless),
            "Protocol error: too big mbulk count string"
        );
    }
}
