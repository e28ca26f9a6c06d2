//! The line dialect: `PUT name Ada\r\n` <-> `Request`, `Reply`.
//!
//! In: bytes as they arrive. Out: complete requests that borrow from those bytes, and replies as lines, each a word and JSON.
//! Promises: one line is one request; only the text of a string with escapes is copied; an error names its column, counted in
//! characters from 1, and concerns its line only unless `Refusal::closes`.

use std::borrow::Cow;
use std::fmt::Write as _;

use memchr::{memchr, memchr2};

use super::foreign::version_in;
use super::{
    Changed, ErrorCode, ErrorReply, Figure, INVALIDATION_CHANNEL, RawArguments, Refusal, Reply,
    Request, Subscription, Words,
};
use crate::codec::json;
use crate::codec::key_text::base64_key;
use crate::model::{KEY_BYTES_MAX, VALUE_BYTES_MAX, is_text};

/// Maximum length in bytes of a line whose value is not a JSON string: the longest value, a verb, and the longest key, of which
/// each byte may take six as `\u00XX`. A limit is needed, as a client may never end its line.
pub const LINE_BYTES_MAX: usize = VALUE_BYTES_MAX + 6 * KEY_BYTES_MAX + 1024;

/// Maximum length in bytes of a PUT whose value is a JSON string, of which each byte may take six, too.
pub const QUOTED_LINE_BYTES_MAX: usize = 6 * (VALUE_BYTES_MAX + KEY_BYTES_MAX) + 1024;

/// Maximum number of arguments of a line, twice that of any command: each takes memory before the arity is checked.
pub const WORDS_MAX: usize = 2 << 20;

/// What stands before bytes that are not text.
const BASE64: &[u8] = b"BASE64";

impl Refusal {
    fn of_line(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            error: ErrorReply::new(code, message),
            closes: false,
        }
    }
}

/// The first line of a buffer.
#[derive(Debug)]
pub enum Frame<'a> {
    /// The line is not complete.
    Partial,
    /// A line without its end, and its length with it.
    Line(&'a [u8], usize),
    /// The line is too long, complete or not.
    TooLong(Refusal),
}

/// Finds the first line of `buffer`, whose first `seen` bytes are known to have no line feed.
#[must_use]
#[inline(always)]
pub fn frame(buffer: &[u8], seen: usize) -> Frame<'_> {
    let end = memchr(b'\n', &buffer[seen..]).map(|at| seen + at);
    let line = &buffer[..end.unwrap_or(buffer.len())];
    // The second check parses the head of the line, and is for long lines only.
    if line.len() > LINE_BYTES_MAX && line.len() > line_bytes_max(line) {
        let message = format!(
            "the line is longer than {} bytes; this connection is closed",
            line_bytes_max(line)
        );
        return Frame::TooLong(Refusal {
            error: ErrorReply::new(ErrorCode::TooLarge, message),
            closes: true,
        });
    }
    match end {
        Some(end) => Frame::Line(line.strip_suffix(b"\r").unwrap_or(line), end + 1),
        None => Frame::Partial,
    }
}

/// Returns the maximum length of a line that begins like this one.
fn line_bytes_max(line: &[u8]) -> usize {
    // Long enough for the longest key with every byte escaped, and the start of the value.
    let mut head = &line[..line.len().min(6 * KEY_BYTES_MAX + 1024)];
    while head.last().is_some_and(|byte| !byte.is_ascii()) {
        head = &head[..head.len() - 1];
    }
    if !is_text(head) {
        return LINE_BYTES_MAX;
    }
    let mut cursor = LineParser { line: head, at: 0 };
    cursor.skip_blanks();
    let verb = cursor.bare_word();
    let quoted = verb.eq_ignore_ascii_case(b"PUT")
        && cursor.skip_blanks()
        && cursor.word().is_ok()
        && cursor.skip_blanks()
        && cursor.rest().starts_with(b"\"");
    if quoted {
        QUOTED_LINE_BYTES_MAX
    } else {
        LINE_BYTES_MAX
    }
}

/// Parses a line as a request; `None` for a blank line, which is not answered.
///
/// # Errors
/// `TEXT` for bytes that are not UTF-8.
#[inline(always)]
pub fn parse(line: &[u8]) -> Result<Option<Request<'_>>, Refusal> {
    // Nearly all lines are ASCII, and this check takes a fifth of the time of the other.
    if !is_ascii(line)
        && let Err(error) = std::str::from_utf8(line)
    {
        let column = column(line, error.valid_up_to());
        let message = format!("the line is not UTF-8 at column {column}; a line carries text only");
        return Err(Refusal::of_line(ErrorCode::Text, message));
    }
    let mut cursor = LineParser { line, at: 0 };
    if !cursor.skip_blanks() {
        return Ok(None);
    }
    let verb = cursor.bare_word();
    Ok(Some(Request {
        verb,
        arguments: RawArguments::Line(line, cursor.at),
    }))
}

/// Splits a line from byte `start` on into its arguments, and appends them to `words`. The argument at place `rest_at`, if any,
/// takes the rest of the line.
///
/// # Errors
/// Those of [`Request::split_into`].
#[inline(always)]
pub(super) fn split_into<'a>(
    line: &'a [u8],
    start: usize,
    rest_at: Option<usize>,
    words: &mut Words<'a>,
) -> Result<(), ErrorReply> {
    let mut cursor = LineParser { line, at: start };
    let first = words.len();
    while cursor.skip_blanks() {
        if words.len() - first == WORDS_MAX {
            return Err(ErrorReply::new(
                ErrorCode::TooLarge,
                format!("the line has more than {WORDS_MAX} arguments"),
            ));
        }
        if rest_at == Some(words.len() - first) {
            words.push(cursor.rest_of_line()?);
        } else {
            words.push(cursor.word()?);
        }
    }
    Ok(())
}

/// Returns true if all bytes are ASCII. The standard library looks at the bytes after the last chunk one by one; here a chunk overlaps
/// the one before.
fn is_ascii(bytes: &[u8]) -> bool {
    const CHUNK_BYTES: usize = 32;
    match bytes.last_chunk::<CHUNK_BYTES>() {
        Some(last) => last.is_ascii() && bytes[..bytes.len() & !(CHUNK_BYTES - 1)].is_ascii(),
        None => bytes.is_ascii(),
    }
}

/// Returns the column of byte `at`, counted in characters from 1.
fn column(line: &[u8], at: usize) -> usize {
    String::from_utf8_lossy(&line[..at]).chars().count() + 1
}

/// Position in a line, which is UTF-8.
struct LineParser<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> LineParser<'a> {
    #[inline(always)]
    fn rest(&self) -> &'a [u8] {
        &self.line[self.at..]
    }

    /// Advances to the next byte that is neither a space nor a tab. Returns false at the end of the line.
    #[inline(always)]
    fn skip_blanks(&mut self) -> bool {
        while self.line.get(self.at).copied().is_some_and(is_blank) {
            self.at += 1;
        }
        self.at < self.line.len()
    }

    #[inline(always)]
    fn bare_word(&mut self) -> &'a [u8] {
        let rest = self.rest();
        let end = blank_in(rest).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Parses a bare word, a JSON string, or a key in base64.
    #[inline(always)]
    fn word(&mut self) -> Result<Cow<'a, [u8]>, ErrorReply> {
        if !self.rest().starts_with(b"\"") {
            let word = self.bare_word();
            if word == BASE64
                && let Some(key) = self.base64_key()
            {
                return Ok(Cow::Owned(key));
            }
            return Ok(Cow::Borrowed(word));
        }
        let text = self.string()?;
        if self.rest().first().copied().is_none_or(is_blank) {
            return Ok(text);
        }
        Err(self.trailing_text("a blank must follow the string that ends there"))
    }

    /// Parses the string after the word `BASE64`, if it is the base64 of a key that is not text. Else both are words by themselves.
    #[cold]
    fn base64_key(&mut self) -> Option<Vec<u8>> {
        let start = self.at;
        let string = (self.skip_blanks() && self.rest().starts_with(b"\"")).then(|| self.string());
        let key = string
            .and_then(Result::ok)
            .filter(|_| self.rest().first().copied().is_none_or(is_blank))
            .and_then(|string| base64_key(&string));
        if key.is_none() {
            self.at = start;
        }
        key
    }

    /// Parses the rest of the line: literally, or as one JSON string.
    fn rest_of_line(&mut self) -> Result<Cow<'a, [u8]>, ErrorReply> {
        if !self.rest().starts_with(b"\"") {
            let rest = self.rest();
            self.at = self.line.len();
            return Ok(Cow::Borrowed(rest));
        }
        let text = self.string()?;
        if self.skip_blanks() {
            return Err(self.trailing_text(
                "a value that begins with a quote is one JSON string and nothing more: write \\\" for a quote inside it",
            ));
        }
        Ok(text)
    }

    fn trailing_text(&self, advice: &str) -> ErrorReply {
        let column = column(self.line, self.at);
        ErrorReply::new(
            ErrorCode::Syntax,
            format!("text after the string at column {column}; {advice}"),
        )
    }

    /// Parses a JSON string (RFC 8259, section 7).
    fn string(&mut self) -> Result<Cow<'a, [u8]>, ErrorReply> {
        let opening = self.at;
        let line = self.line;
        let mut end = opening + 1;
        let mut plain = true;
        loop {
            let Some(next) = memchr2(b'"', b'\\', line.get(end..).unwrap_or_default()) else {
                let column = column(self.line, opening);
                return Err(ErrorReply::new(
                    ErrorCode::Syntax,
                    format!("unterminated string at column {column}"),
                ));
            };
            end += next;
            if line[end] == b'"' {
                break;
            }
            plain = false;
            end += 2;
        }
        let literal = &self.line[opening..=end];
        self.at = end + 1;
        if plain && !literal.iter().any(|byte| *byte < b' ') {
            return Ok(Cow::Borrowed(&literal[1..literal.len() - 1]));
        }
        serde_json::from_slice(literal)
            .map(|text: String| Cow::Owned(text.into_bytes()))
            .map_err(|error| self.bad_string(opening, literal, &error))
    }

    /// Returns the error for a string that is terminated but not valid.
    fn bad_string(&self, opening: usize, literal: &[u8], error: &serde_json::Error) -> ErrorReply {
        // serde_json counts bytes, up to and including the invalid one.
        let mut at = error.column().saturating_sub(1).min(literal.len());
        // To the first byte of its character (RFC 3629, section 3).
        while literal.get(at).is_some_and(|byte| byte & 0xc0 == 0x80) {
            at -= 1;
        }
        let column = column(self.line, opening + at);
        let whole = error.to_string();
        let reason = whole.split(" at line ").next().unwrap_or(&whole);
        if json::is_half_character(error) {
            let message =
                format!("half of a surrogate pair at column {column}; it stands for no character");
            return ErrorReply::new(ErrorCode::Text, message);
        }
        let reason = if reason.starts_with("control character") {
            "unescaped control character in a string"
        } else {
            reason
        };
        ErrorReply::new(ErrorCode::Syntax, format!("{reason} at column {column}"))
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Returns the offset of the first blank. Eight bytes are compared in one step: words are so short that a call of memchr for each
/// would take longer.
fn blank_in(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let (eights, _) = bytes.as_chunks();
    let mut at = 0;
    for eight in eights {
        // Sets the high bit of each byte below `!`, which is a blank or a rare control character; exact up to the first such byte.
        let eight = u64::from_le_bytes(*eight);
        let low = eight.wrapping_sub(ONES * u64::from(b'!')) & !eight & HIGHS;
        if low != 0 {
            at += low.trailing_zeros() as usize / 8;
            break;
        }
        at += 8;
    }
    let rest = &bytes[at..];
    Some(at + rest.iter().position(|byte| is_blank(*byte))?)
}

/// Appends a reply as a line to a buffer.
pub fn write(out: &mut Vec<u8>, reply: Reply<'_>) {
    match reply {
        Reply::Raw(bytes) => return out.extend_from_slice(bytes),
        Reply::Ok | Reply::Stored(_) => out.extend_from_slice(b"OK"),
        Reply::Value(value) => write_value(out, "VALUE ", value),
        Reply::Found(value) => write_value(out, "VALUE ", value.bytes()),
        Reply::NotFound => out.extend_from_slice(b"NOT_FOUND"),
        Reply::Unchanged | Reply::NoArray => out.extend_from_slice(b"UNCHANGED"),
        Reply::Count(count) => write_number(out, "COUNT ", count),
        Reply::Signed(number) => out.extend_from_slice(format!("COUNT {number}").as_bytes()),
        Reply::Number(number) => write_string(out, "VALUE ", &number.to_string()),
        Reply::Status(text) | Reply::Text(text) | Reply::Double(text) => {
            write_string(out, "VALUE ", text);
        }
        Reply::Array(replies) | Reply::Set(replies) => {
            write_number(out, "ARRAY ", replies as u64);
        }
        Reply::Map(pairs) => write_number(out, "MAP ", pairs as u64),
        Reply::Queued => out.extend_from_slice(b"QUEUED"),
        Reply::Item(key, value) => {
            write_key(out, "ITEM ", key);
            out.push(b' ');
            write_value(out, "", value.bytes());
        }
        Reply::Key(key) => write_key(out, "KEY ", key),
        Reply::Stat(name, figure) => write_stat(out, name, figure),
        Reply::Help(usage, summary) => {
            write_string(out, "HELP ", usage);
            out.push(b' ');
            json::write_string(out, summary);
        }
        Reply::Namespace(name, keys) => {
            write_key(out, "NAMESPACE ", name);
            write_number(out, " ", keys);
        }
        Reply::End(lines) | Reply::NamespacesEnd(lines, _) => write_number(out, "END ", lines),
        Reply::Pong => out.extend_from_slice(b"PONG"),
        Reply::Error(error) => out.extend_from_slice(error_line(error).as_bytes()),
        Reply::Subscription(event, name, count) => {
            let word = match event {
                Subscription::Begun => "SUBSCRIBED ",
                Subscription::Ended => "UNSUBSCRIBED ",
                Subscription::PatternBegun => "PSUBSCRIBED ",
                Subscription::PatternEnded => "PUNSUBSCRIBED ",
                Subscription::ShardBegun => "SSUBSCRIBED ",
                Subscription::ShardEnded => "SUNSUBSCRIBED ",
            };
            out.extend_from_slice(word.as_bytes());
            match name {
                Some(name) => write_value(out, "", name),
                None => out.extend_from_slice(b"null"),
            }
            write_number(out, " ", count as u64);
        }
        Reply::Message(pattern, channel, payload) => {
            match pattern {
                Some(pattern) => {
                    write_value(out, "PMESSAGE ", pattern);
                    out.push(b' ');
                    write_value(out, "", channel);
                }
                None => write_value(out, "MESSAGE ", channel),
            }
            out.push(b' ');
            write_value(out, "", payload);
        }
        Reply::ShardMessage(channel, payload) => {
            write_value(out, "SMESSAGE ", channel);
            out.push(b' ');
            write_value(out, "", payload);
        }
        Reply::Invalidated(key) => {
            write_value(out, "MESSAGE ", INVALIDATION_CHANNEL);
            match key {
                Some(key) => write_value(out, " ", key),
                None => out.extend_from_slice(b" null"),
            }
        }
        Reply::RedirectionBroken(_) => {
            unreachable!("only who speaks RESP tracks")
        }
        Reply::Following(prefix, revision) => {
            write_key(out, "FOLLOWING ", prefix);
            write_number(out, " ", revision);
        }
        Reply::Unfollowed(prefix) => write_key(out, "UNFOLLOWED ", prefix),
        Reply::Change(revision, changed) => write_change(out, revision, changed),
        Reply::Monitor(request) => write_string(out, "MONITOR ", request),
    }
    out.push(b'\n');
}

fn write_change(out: &mut Vec<u8>, revision: u64, changed: Changed<'_>) {
    write_number(out, "CHANGE ", revision);
    match changed {
        Changed::Put(key, value, expires_at) => {
            write_key(out, " PUT ", key);
            out.push(b' ');
            write_value(out, "", value);
            if let Some(expires_at) = expires_at {
                write_string(out, " ", &json::time(expires_at));
            }
        }
        Changed::Delete(key) => write_key(out, " DEL ", key),
        Changed::Evict(key) => {
            write_key(out, " DEL ", key);
            out.extend_from_slice(b" \"evicted\"");
        }
        Changed::Clear => out.extend_from_slice(b" CLEAR"),
    }
}

fn write_string(out: &mut Vec<u8>, word: &str, text: &str) {
    out.extend_from_slice(word.as_bytes());
    json::write_string(out, text);
}

/// Appends a key after a word: text as a JSON string, other bytes as base64 after `BASE64`.
fn write_key(out: &mut Vec<u8>, word: &str, key: &[u8]) {
    out.extend_from_slice(word.as_bytes());
    write_value(out, "", key);
}

fn write_stat(out: &mut Vec<u8>, name: &str, figure: &Figure) {
    out.extend_from_slice(format!("STAT {name} {}", figure.to_json()).as_bytes());
}

fn write_number(out: &mut Vec<u8>, word: &str, number: u64) {
    out.extend_from_slice(word.as_bytes());
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a value: text as a JSON string after `word_for_text`, other bytes as base64 after `BASE64`.
#[inline(always)]
fn write_value(out: &mut Vec<u8>, word_for_text: &str, value: &[u8]) {
    if !json::write_if_text(out, word_for_text, value) {
        out.extend_from_slice(b"BASE64 ");
        json::write_base64(out, value);
    }
}

/// Returns the beginning of a reply with one value, including the opening quote; the value, `"` and a line feed complete it.
#[must_use]
pub fn value_opening(key_in_item: Option<&[u8]>, is_text: bool) -> Vec<u8> {
    let mut out = Vec::new();
    match key_in_item {
        Some(key) => {
            write_key(&mut out, "ITEM ", key);
            out.extend_from_slice(if is_text { b" \"" } else { b" BASE64 \"" });
        }
        None => out.extend_from_slice(if is_text { b"VALUE \"" } else { b"BASE64 \"" }),
    }
    out
}

fn error_line(error: &ErrorReply) -> String {
    let mut line = String::from("ERR ");
    // The text may quote the request: escape control characters, so that the reply is one line.
    for character in error.to_string().chars() {
        if character.is_control() {
            let _ = write!(line, "\\u{:04x}", character as u32);
        } else {
            line.push(character);
        }
    }
    line
}

/// Encodes an argument of a request: bare if the server then reads exactly this text, else as a JSON string.
#[must_use]
pub fn quote(argument: &str) -> Cow<'_, str> {
    let bare = !argument.is_empty()
        && !argument.starts_with('"')
        && argument.as_bytes() != BASE64
        && version_in(argument.as_bytes()).is_none()
        && !argument.contains(|character: char| character == ' ' || character.is_control());
    if bare {
        Cow::Borrowed(argument)
    } else {
        Cow::Owned(json::string(argument))
    }
}

/// Encodes a key of a request: text as [`quote`] does, other bytes as base64 after `BASE64`.
#[must_use]
pub fn quote_key(key: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(key) {
        Ok(text) => quote(text),
        Err(_) => Cow::Owned(format!("BASE64 \"{}\"", json::base64(key))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::foreign::refuse;
    use super::*;

    #[test]
    fn the_first_blank_is_found_wherever_it_is() {
        for length in 0..40 {
            let mut bytes = vec![b'!'; length];
            assert_eq!(blank_in(&bytes), None);
            for at in (0..length).rev() {
                bytes[at] = if at % 2 == 0 { b' ' } else { b'\t' };
                assert_eq!(blank_in(&bytes), Some(at));
            }
        }
        // Bytes that differ from a blank in one bit, and those just above and below.
        for other in [
            0x00, 0x01, 0x08, 0x0a, 0x1f, 0x21, 0x22, 0x29, 0x60, 0x89, 0xa0, 0xff,
        ] {
            assert_eq!(blank_in(&[other; 24]), None, "{other:#x}");
        }
    }

    fn words(line: &str, rest_at: Option<usize>) -> Result<Vec<String>, String> {
        let request = parse(line.as_bytes())
            .map_err(|refusal| refusal.error.to_string())?
            .expect("a request");
        let words = request
            .arguments(rest_at)
            .map_err(|error| error.to_string())?;
        Ok(words
            .iter()
            .map(|word| String::from_utf8(word.to_vec()).expect("text"))
            .collect())
    }

    #[test]
    fn a_value_is_the_rest_of_the_line_with_its_spaces() {
        let got = words("PUT  greeting \t hello  there, world ", Some(1)).expect("a request");
        assert_eq!(got, ["greeting", "hello  there, world "]);
    }

    #[test]
    fn a_value_that_begins_with_a_quote_is_one_json_string() {
        assert_eq!(
            words(r#"PUT "a b" " \"x\" \n""#, Some(1)).expect("a request"),
            ["a b", " \"x\" \n"]
        );
        let error = words(r#"PUT q "hello" she said"#, Some(1)).expect_err("text after the string");
        assert!(
            error.starts_with("SYNTAX text after the string at column 15"),
            "{error}"
        );
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(
            words("GET \"añ", None),
            Err("SYNTAX unterminated string at column 5".to_owned())
        );
        let error = words(r#"GET "ñ\q""#, None).expect_err("no such escape");
        assert_eq!(error, "SYNTAX invalid escape at column 8");
        let error = words(r#"GET "\ud800x""#, None).expect_err("half a character");
        assert!(error.starts_with("TEXT "), "{error}");
    }

    #[test]
    fn a_string_that_ends_in_a_backslash_is_unterminated() {
        assert_eq!(
            words(r#"GET "a\"#, None),
            Err("SYNTAX unterminated string at column 5".to_owned())
        );
        assert_eq!(
            words(r#"GET "a\""#, None),
            Err("SYNTAX unterminated string at column 5".to_owned())
        );
    }

    #[test]
    fn only_a_quoted_value_may_have_the_longer_line() {
        for (head, limit) in [
            ("PUT k \"", QUOTED_LINE_BYTES_MAX),
            (" put \"k k\"\t\"", QUOTED_LINE_BYTES_MAX),
            ("PUT k v", LINE_BYTES_MAX),
            ("GET \"", LINE_BYTES_MAX),
        ] {
            let mut line = head.as_bytes().to_vec();
            line.resize(limit, b'x');
            assert!(
                matches!(frame(&line, 0), Frame::Partial),
                "{head} at the limit"
            );
            line.push(b'x');
            assert!(
                matches!(frame(&line, 0), Frame::TooLong(_)),
                "{head} over the limit"
            );
        }
    }

    #[test]
    fn quoted_text_is_read_back_as_it_was() {
        for text in [
            "",
            "a",
            "a b",
            "\"",
            "it's",
            "\"q\"",
            "tab\there",
            "line\nfeed",
            "\u{2028}",
            "nul\0",
            "\r",
            "emoji 😀",
            " ",
            "BASE64",
            "/x",
            "HTTP/1.1",
        ] {
            let line = format!("PUT {} {}", quote(text), quote(text));
            assert!(refuse(line.as_bytes(), false).is_none(), "{line:?}");
            assert_eq!(
                words(&line, Some(1)).expect("a request"),
                [text, text],
                "{line:?}"
            );
        }
    }
}
